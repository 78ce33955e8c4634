"""An echo on Twisted, on the first processor. Prints its port, and ends with its standard input."""

import os
import sys

from twisted.internet import protocol, reactor, stdio


class Echo(protocol.Protocol):
    def connectionMade(self):
        self.transport.setTcpNoDelay(True)

    def dataReceived(self, data):
        self.transport.write(data)


class Parent(protocol.Protocol):
    def connectionLost(self, reason):
        if reactor.running:
            reactor.stop()


if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
port = reactor.listenTCP(0, protocol.Factory.forProtocol(Echo), interface="127.0.0.1")
print(port.getHost().port)
sys.stdout.flush()
stdio.StandardIO(Parent())
reactor.run()
