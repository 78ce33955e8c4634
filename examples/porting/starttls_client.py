import sys

from twisted.internet import reactor, ssl
from twisted.internet.protocol import ClientFactory
from twisted.protocols.basic import LineReceiver
from twisted.python.filepath import FilePath

authority = ssl.Certificate.loadPEM(FilePath(sys.argv[2]).getContent())
options = ssl.optionsForClientTLS("localhost", authority)


class StartTLS(LineReceiver):
    def connectionMade(self):
        self.sendLine(b"plain text")
        self.sendLine(b"STARTTLS")

    def lineReceived(self, line):
        print("received:", line.decode())
        if line == b"READY":
            self.transport.startTLS(options)
            self.sendLine(b"secure text")
            self.transport.loseConnection()

    def connectionLost(self, reason):
        reactor.stop()


factory = ClientFactory.forProtocol(StartTLS)
reactor.connectTCP("localhost", int(sys.argv[1]), factory)
reactor.run()
