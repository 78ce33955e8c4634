"""The bank with a robot, in Tornado. Prints its port, and ends when it is killed."""

import asyncio

from tornado import iostream, netutil, tcpserver


class Bank(tcpserver.TCPServer):
    async def handle_stream(self, stream, address):
        try:
            line = await stream.read_until(b"\n")
            await asyncio.sleep(0.05)
            await stream.write(line)
        except iostream.StreamClosedError:
            pass  # the customer has left
        stream.close()


async def main():
    sockets = netutil.bind_sockets(0, "127.0.0.1", backlog=128)
    bank = Bank()
    bank.add_sockets(sockets)
    print(sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
