from twisted.internet import defer, task


def printResult(result):
    for success, value in result:
        if success:
            print("succeeded with", value)
        else:
            print("failed with", value.getErrorMessage())


def main(reactor):
    first, second, third = defer.Deferred(), defer.Deferred(), defer.Deferred()
    every = defer.DeferredList([first, second, third], consumeErrors=True)
    every.addCallback(printResult)
    first.callback("one")
    second.errback(Exception("bang!"))
    third.callback("three")
    return every


task.react(main)
