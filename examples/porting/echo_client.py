import sys

from twisted.internet import reactor
from twisted.internet.protocol import ClientFactory, Protocol


class EchoClient(Protocol):
    def connectionMade(self):
        self.transport.write(b"hello, world!")

    def dataReceived(self, data):
        print("the server said:", data.decode().strip(), flush=True)
        self.transport.loseConnection()

    def connectionLost(self, reason):
        print("connection lost")


class EchoFactory(ClientFactory):
    protocol = EchoClient

    def clientConnectionFailed(self, connector, reason):
        print("connection failed")
        reactor.stop()

    def clientConnectionLost(self, connector, reason):
        reactor.stop()


reactor.connectTCP("127.0.0.1", int(sys.argv[1]), EchoFactory())
reactor.run()
