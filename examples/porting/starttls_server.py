import sys

from twisted.internet import reactor, ssl
from twisted.internet.protocol import Factory
from twisted.protocols.basic import LineReceiver

options = ssl.DefaultOpenSSLContextFactory(sys.argv[2], sys.argv[3])


class StartTLS(LineReceiver):
    def lineReceived(self, line):
        print("received:", line.decode(), flush=True)
        if line == b"STARTTLS":
            self.sendLine(b"READY")
            self.transport.startTLS(options)


reactor.listenTCP(int(sys.argv[1]), Factory.forProtocol(StartTLS), interface="127.0.0.1")
reactor.run()
