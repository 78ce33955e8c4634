import sys

from twisted.internet import ssl, task
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.protocol import Factory, Protocol
from twisted.python.filepath import FilePath


class EchoClient(Protocol):
    def connectionMade(self):
        self.done = Deferred()
        self.transport.write(b"hello, secret world!")

    def dataReceived(self, data):
        print("the server said:", data.decode())
        self.transport.loseConnection()

    def connectionLost(self, reason):
        self.done.callback(None)


async def main(reactor):
    authority = ssl.Certificate.loadPEM(FilePath(sys.argv[2]).getContent())
    options = ssl.optionsForClientTLS("localhost", authority)
    endpoint = HostnameEndpoint(reactor, b"localhost", int(sys.argv[1]))
    client = await wrapClientTLS(options, endpoint).connect(Factory.forProtocol(EchoClient))
    await client.done


task.react(lambda reactor: Deferred.fromCoroutine(main(reactor)))
