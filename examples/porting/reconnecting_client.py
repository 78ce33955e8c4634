import sys

from twisted.internet import reactor
from twisted.internet.protocol import Protocol, ReconnectingClientFactory


class Echo(Protocol):
    def dataReceived(self, data):
        print(data.decode().strip(), flush=True)


class EchoFactory(ReconnectingClientFactory):
    initialDelay = 0.1
    connections = 0

    def buildProtocol(self, addr):
        print("connected", flush=True)
        self.resetDelay()
        return Echo()

    def clientConnectionLost(self, connector, reason):
        print("connection lost", flush=True)
        self.connections += 1
        if self.connections == 3:
            reactor.stop()
        else:
            super().clientConnectionLost(connector, reason)


reactor.connectTCP("127.0.0.1", int(sys.argv[1]), EchoFactory())
reactor.run()
