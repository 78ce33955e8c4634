import sys

from zope.interface import implementer

from twisted.internet import interfaces, reactor
from twisted.internet.protocol import Factory
from twisted.protocols.basic import LineReceiver


@implementer(interfaces.IPushProducer)
class Producer:
    def __init__(self, protocol, count):
        self.protocol = protocol
        self.goal = count
        self.produced = 0
        self.paused = False

    def pauseProducing(self):
        self.paused = True

    def resumeProducing(self):
        self.paused = False
        while not self.paused and self.produced != self.goal:
            self.protocol.sendLine(b"%d" % (self.produced * 7919 % 10007))
            self.produced += 1
        if self.produced == self.goal:
            self.protocol.transport.unregisterProducer()
            self.protocol.transport.loseConnection()

    def stopProducing(self):
        self.produced = self.goal


class ServeNumbers(LineReceiver):
    def connectionMade(self):
        self.sendLine(b"How many numbers do you want?")

    def lineReceived(self, line):
        producer = Producer(self, int(line.strip()))
        self.transport.registerProducer(producer, True)
        producer.resumeProducing()


factory = Factory.forProtocol(ServeNumbers)
reactor.listenTCP(int(sys.argv[1]), factory, interface="127.0.0.1")
reactor.run()
