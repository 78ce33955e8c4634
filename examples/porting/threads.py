import threading
import time

from twisted.internet import defer, task, threads


def longCalculation(number):
    time.sleep(0.01)
    return number * number


def waitsForTheLoop(reactor):
    answer = threads.blockingCallFromThread(reactor, task.deferLater, reactor, 0.01, lambda: 42)
    return f"the loop says {answer}"


@defer.inlineCallbacks
def main(reactor):
    squares = yield defer.gatherResults([threads.deferToThread(longCalculation, n) for n in (1, 2, 3)])
    print("squares:", *squares)
    print((yield threads.deferToThread(waitsForTheLoop, reactor)))
    called = defer.Deferred()
    threading.Thread(target=reactor.callFromThread, args=(called.callback, "called from a thread")).start()
    print((yield called))


task.react(main)
