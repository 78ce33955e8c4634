import sys

from twisted.internet import reactor
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol


class Greeter(Protocol):
    def sendMessage(self, message):
        self.transport.write(b"MESSAGE %s\n" % message)

    def dataReceived(self, data):
        sys.stdout.write(data.decode())

    def connectionLost(self, reason):
        reactor.stop()


def gotProtocol(greeter):
    greeter.sendMessage(b"Hello")
    reactor.callLater(0.1, greeter.sendMessage, b"This is sent a moment later")
    reactor.callLater(0.2, greeter.transport.loseConnection)


endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", int(sys.argv[1]))
connecting = connectProtocol(endpoint, Greeter())
connecting.addCallback(gotProtocol)
reactor.run()
