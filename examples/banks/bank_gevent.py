"""The bank with a robot, in gevent: a greenlet for each customer. Prints its port, and ends when it is killed."""

import gevent
from gevent.server import StreamServer


def serve(customer, _address):
    line = customer.makefile("rb").readline()
    gevent.sleep(0.05)
    customer.sendall(line)


server = StreamServer(("127.0.0.1", 0), serve, backlog=128)
server.start()
print(server.server_port, flush=True)
server.serve_forever()
