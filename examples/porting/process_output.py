from twisted.internet import task, utils


def main(reactor):
    output = utils.getProcessOutput("/bin/echo", ["a", "quote"])

    def printQuote(quote):
        print("echo said:", quote.decode().strip())

    def noQuote(failure):
        print("there is no quote:", failure.getErrorMessage())

    output.addCallbacks(printQuote, noQuote)
    return output


task.react(main)
