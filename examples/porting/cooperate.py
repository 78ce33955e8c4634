from twisted.internet import defer, task


def count(name, upTo):
    for number in range(1, upTo + 1):
        print(name, number)
        yield None


def main(reactor):
    first, second = task.cooperate(count("a", 3)), task.cooperate(count("b", 2))
    return defer.gatherResults([first.whenDone(), second.whenDone()])


task.react(main)
