import sys

from twisted.internet import endpoints, reactor
from twisted.internet.protocol import Factory, Protocol


class Echo(Protocol):
    def dataReceived(self, data):
        self.transport.write(data)


description = "ssl:%s:privateKey=%s:certKey=%s:interface=127.0.0.1"
endpoint = endpoints.serverFromString(reactor, description % tuple(sys.argv[1:4]))
endpoint.listen(Factory.forProtocol(Echo))
reactor.run()
