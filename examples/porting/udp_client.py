import sys

from twisted.internet import reactor
from twisted.internet.protocol import DatagramProtocol


class Helloer(DatagramProtocol):
    def startProtocol(self):
        self.transport.connect("127.0.0.1", int(sys.argv[1]))
        self.transport.write(b"hello")

    def datagramReceived(self, data, addr):
        print("received", data)
        reactor.stop()

    def connectionRefused(self):
        print("no one listening")
        reactor.stop()


reactor.listenUDP(0, Helloer())
reactor.run()
