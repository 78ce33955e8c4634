from twisted.internet import task

loopTimes = 3


class Counter:
    count = 0

    def tick(self):
        self.count += 1
        print("tick", self.count)
        if self.count == loopTimes:
            loop.stop()


def ended(loop):
    print("the loop has ended")
    return task.deferLater(loop.clock, 0.01, print, "and a little later")


def main(reactor):
    global loop
    loop = task.LoopingCall(Counter().tick)
    done = loop.start(0.01)
    done.addCallback(ended)
    return done


task.react(main)
