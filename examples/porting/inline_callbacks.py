from twisted.internet import defer, task


def fetch(reactor, page):
    if page == 3:
        return defer.fail(KeyError("no such page"))
    return task.deferLater(reactor, 0.02, lambda: f"page {page}")


@defer.inlineCallbacks
def fetchAll(reactor):
    pages = []
    for number in range(1, 5):
        try:
            page = yield fetch(reactor, number)
            pages.append(page)
        except KeyError as error:
            print("skipped:", error.args[0])
    return pages


@defer.inlineCallbacks
def main(reactor):
    pages = yield fetchAll(reactor)
    print(", ".join(pages))


task.react(main)
