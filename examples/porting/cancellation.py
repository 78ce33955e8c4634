from twisted.internet import defer, task


def lookUp(reactor, name):
    def cancel(deferred):
        print("forgetting", name)
        call.cancel()

    deferred = defer.Deferred(cancel)
    call = reactor.callLater(10, deferred.callback, f"the address of {name}")
    return deferred


def cancelled(failure):
    failure.trap(defer.CancelledError)
    print("it was cancelled")


def timedOut(failure):
    failure.trap(defer.TimeoutError)
    print("it took too long")


def main(reactor):
    first = lookUp(reactor, "example.org")
    first.addErrback(cancelled)
    first.cancel()
    second = lookUp(reactor, "example.com")
    second.addTimeout(0.05, reactor)
    second.addErrback(timedOut)
    return second


task.react(main)
