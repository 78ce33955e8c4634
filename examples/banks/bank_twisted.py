"""The bank with a robot, in Twisted. Prints its port, and ends when its standard input is closed."""

import sys

from twisted.internet import protocol, reactor, stdio
from twisted.protocols import basic


class Robot(basic.LineReceiver):
    delimiter = b"\n"

    def lineReceived(self, line):
        reactor.callLater(0.05, self.answer, line)

    def answer(self, line):
        self.sendLine(line)
        self.transport.loseConnection()


class Parent(protocol.Protocol):
    def connectionLost(self, reason):
        if reactor.running:
            reactor.stop()


port = reactor.listenTCP(0, protocol.Factory.forProtocol(Robot), interface="127.0.0.1", backlog=128)
print(port.getHost().port)
sys.stdout.flush()
stdio.StandardIO(Parent())
reactor.run()
