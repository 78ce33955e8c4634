"""The shapes of Twisted's own benchmarks, on Twisted: one line of JSON, from name to nanoseconds an operation.

`twisted.rs` beside the bench crate has the same shapes and names.
"""

import json
import statistics
import sys
import time

from twisted.internet.base import ReactorBase
from twisted.internet.defer import Deferred, succeed


def add(value):
    return value + 1


def fail(value):
    raise ValueError(value)


def fail_again(failure):
    raise KeyError(failure)


def swallow(failure):
    return 0


def await_1000_ready():
    async def coroutine():
        total = 0
        for _ in range(1000):
            total += await succeed(1)
        return total

    Deferred.fromCoroutine(coroutine())


def await_20_unfired():
    deferreds = [Deferred() for _ in range(20)]

    async def coroutine():
        total = 0
        for deferred in deferreds:
            total += await deferred
        return total

    Deferred.fromCoroutine(coroutine())
    for deferred in deferreds:
        deferred.callback(1)


def chain_4_fired_first():
    deferred = Deferred()
    deferred.callback(1)
    deferred.addCallback(add).addCallback(add).addCallback(add).addCallback(add)


def chain_4_fired_last():
    deferred = Deferred()
    deferred.addCallback(add).addCallback(add).addCallback(add).addCallback(add)
    deferred.callback(1)


def errback_chain():
    deferred = Deferred()
    deferred.addCallback(fail).addErrback(fail_again).addErrback(swallow)
    deferred.callback(1)


def chained_already_fired():
    first, second, third = Deferred(), Deferred(), Deferred()
    second.callback(2)
    third.callback(3)
    first.addCallback(lambda _: second).addCallback(lambda _: third)
    first.callback(1)


def chained_not_fired():
    first, second, third, fourth = Deferred(), Deferred(), Deferred(), Deferred()
    second.addCallback(lambda _: third)
    first.addCallback(lambda _: second).addCallback(lambda _: fourth)
    first.callback(1)
    second.callback(2)
    third.callback(3)
    fourth.callback(4)


class Rigged(ReactorBase):
    """A reactor whose time is set by hand."""

    now = 0.0

    def installWaker(self):
        pass

    def seconds(self):
        return self.now


RIGGED = Rigged()


def timers(delays):
    reactor = RIGGED
    for delay in delays:
        reactor.callLater(delay, int)
    for _ in range(100):
        reactor.now += 1
        reactor.runUntilCurrent()


def timers_100_in_order():
    timers(range(1, 101))


def timers_100_reversed():
    timers(range(100, 0, -1))


SHAPES = [
    await_1000_ready,
    await_20_unfired,
    chain_4_fired_first,
    chain_4_fired_last,
    errback_chain,
    chained_already_fired,
    chained_not_fired,
    timers_100_in_order,
    timers_100_reversed,
]


# Nanoseconds of a sample; the milliseconds are the argument.
AT_LEAST = float(sys.argv[1]) * 1e6


def sample(shape, times):
    begin = time.perf_counter_ns()
    for _ in range(times):
        shape()
    return (time.perf_counter_ns() - begin) / times


def measure(shape):
    times = 1
    while sample(shape, times) * times < AT_LEAST:
        times *= 2
    return statistics.median(sample(shape, times) for _ in range(5))


print(json.dumps({shape.__name__: measure(shape) for shape in SHAPES}))
