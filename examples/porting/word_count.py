from twisted.internet import reactor
from twisted.internet.protocol import ProcessProtocol


class WordCount(ProcessProtocol):
    def __init__(self, verses):
        self.verses = verses
        self.data = b""

    def connectionMade(self):
        for verse in range(self.verses):
            self.transport.write(b"aleph-null bottles of beer on the wall,\n")
            self.transport.write(b"aleph-null bottles of beer,\n")
            self.transport.write(b"take one down and pass it around,\n")
            self.transport.write(b"aleph-null bottles of beer on the wall.\n")
        self.transport.closeStdin()

    def outReceived(self, data):
        self.data = self.data + data

    def outConnectionLost(self):
        lines, words, characters = self.data.split()
        print("lines:", int(lines), "words:", int(words))

    def processExited(self, reason):
        print("exited, status", reason.value.exitCode)

    def processEnded(self, reason):
        reactor.stop()


reactor.spawnProcess(WordCount(10), "wc", ["wc"])
reactor.run()
