import sys

from twisted.internet import reactor
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.protocol import Factory, Protocol


class Quote(Protocol):
    def connectionMade(self):
        self.transport.write(self.factory.quote + b"\r\n")
        self.transport.loseConnection()


class QuoteFactory(Factory):
    protocol = Quote

    def __init__(self, quote):
        self.quote = quote


endpoint = TCP4ServerEndpoint(reactor, int(sys.argv[1]), interface="127.0.0.1")
endpoint.listen(QuoteFactory(b"An apple a day keeps the doctor away"))
reactor.run()
