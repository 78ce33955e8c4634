"""Payments in SQLite through Twisted's adbapi: prints nanoseconds an interaction.

`rows/database.rs` beside the bench crate has the same payments.
"""

import sys
import time

from twisted.enterprise import adbapi
from twisted.internet import defer, task

path, payments, threads, accounts = sys.argv[1], *map(int, sys.argv[2:])


def opened(connection):
    connection.execute("PRAGMA synchronous = OFF")


def pay(cursor, number):
    here, there = number % accounts, number * 7 % accounts
    # As on the other side, the transaction waits for its turn to write now.
    cursor.execute("BEGIN IMMEDIATE")
    cursor.execute("SELECT money FROM accounts WHERE id = ?", (here,))
    money = cursor.fetchone()[0]
    update = "UPDATE accounts SET money = money + ? WHERE id = ?"
    cursor.execute(update, (-(money // 100), here))
    cursor.execute(update, (money // 100, there))


@task.react
@defer.inlineCallbacks
def main(reactor):
    pool = adbapi.ConnectionPool(
        "sqlite3", path, check_same_thread=False, timeout=60, isolation_level=None, cp_min=threads, cp_max=threads,
        cp_openfun=opened,
    )
    yield pool.runInteraction(pay, 0)
    begin = time.perf_counter()
    yield defer.gatherResults([pool.runInteraction(pay, number) for number in range(payments)])
    print((time.perf_counter() - begin) / payments * 1e9)
    pool.close()
