from twisted.internet import defer, task


def getDummyData(reactor, inputData):
    deferred = defer.Deferred()
    reactor.callLater(0.05, deferred.callback, inputData * 3)
    return deferred


def isOdd(number):
    if number % 2 == 0:
        raise ValueError(f"{number} is even")
    return f"{number} is odd"


def main(reactor):
    odd = getDummyData(reactor, 3)
    odd.addCallback(isOdd)
    odd.addCallback(print)
    even = getDummyData(reactor, 4)
    even.addCallback(isOdd)
    even.addCallbacks(print, lambda failure: print("failed:", failure.getErrorMessage()))
    return defer.gatherResults([odd, even])


task.react(main)
