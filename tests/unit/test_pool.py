"""The pool of connections: how many there may be, which one is next, what is never lost."""

from __future__ import annotations

import gc
import os
import threading
import time
import weakref

import pytest
from support.clock import FakeClock

from flask_msm.memcached.connection import Connection
from flask_msm.memcached.failures import PoolExhaustedError
from flask_msm.memcached.pool import Pool


class Socket:
    closed = False

    def close(self):
        self.closed = True


class Opened:
    """A pool, and connections to nowhere."""

    def __init__(self, size=2):
        self.pool = Pool("n1", size, time.monotonic)

    def connect(self):
        connection = Connection(time.monotonic)
        connection.socket = Socket()
        self.pool.adopt(connection)
        return connection

    def idle(self, count):
        """Return *count* connections, opened in this order, all idle now."""
        places = [self.pool.place(0) for _ in range(count)]
        connections = [self.connect() for _ in range(count)]
        for connection, place in zip(connections, places, strict=True):
            self.pool.give(connection, place)
        return connections


def test_the_connection_used_last_is_used_next():
    opened = Opened(3)
    first, second, third = opened.idle(3)
    assert [opened.pool.take() for _ in range(4)] == [third, second, first, None]


def test_connections_are_numbered_as_they_are_opened():
    opened = Opened(3)
    assert [connection.number for connection in opened.idle(3)] == [1, 2, 3]
    assert opened.pool.youngest == 3


def test_an_older_connection_is_found_among_younger_ones():
    opened = Opened(4)
    connections = opened.idle(4)
    assert opened.pool.take_older(2) in connections[:2]
    assert opened.pool.take_older(2) in connections[:2]
    assert opened.pool.take_older(2) is None
    assert opened.pool.idle == 2
    assert {opened.pool.take(), opened.pool.take()} == set(connections[2:])


def test_a_pool_has_as_many_places_as_connections_and_no_more():
    pool = Opened(2).pool
    held = [pool.place(0), pool.place(0)]
    with pytest.raises(PoolExhaustedError, match="n1"):
        pool.place(time.monotonic() + 0.01)
    held.pop().give_back()
    assert pool.place(0)


def test_waiting_ends_by_the_deadline_of_the_clock_it_was_given():
    clock = FakeClock()
    pool = Pool("n1", 1, clock.monotonic)
    held = pool.place(0)
    start = time.monotonic()
    with pytest.raises(PoolExhaustedError):
        pool.place(clock.monotonic() + 0.02)
    with pytest.raises(PoolExhaustedError):
        pool.place(clock.monotonic() - 100)
    assert time.monotonic() - start < 30
    held.give_back()


def test_a_place_that_is_dropped_is_free_again():
    """Also again and again: what an interrupt leaves behind must not use the pool up."""
    pool = Opened(1).pool
    for _ in range(5):
        place = pool.place(0)
        assert pool.free == 0
        del place
        assert pool.free == 1


def test_a_place_dropped_in_a_garbage_collection_is_free_again():
    pool = Opened(1).pool
    cycle = [pool.place(0)]
    cycle.append(cycle)
    del cycle
    gc.collect()
    assert pool.free == 1


def test_a_place_given_back_is_not_free_twice():
    pool = Opened(1).pool
    place = pool.place(0)
    place.give_back()
    del place
    gc.collect()
    assert pool.free == 1


def test_who_waits_gets_the_place_that_becomes_free():
    pool = Opened(1).pool
    held = pool.place(0)
    got = []
    thread = threading.Thread(target=lambda: got.append(pool.place(time.monotonic() + 60)))
    thread.start()
    held.give_back()
    del held
    thread.join(60)
    assert len(got) == 1


def test_a_connection_without_references_is_closed():
    opened = Opened(1)
    sock = opened.connect().socket
    assert sock.closed


def test_retired_connections_are_closed_now_or_when_they_come_back():
    opened = Opened(3)
    first, second, third = opened.idle(3)
    place = opened.pool.place(0)
    assert opened.pool.take() is third
    opened.pool.retire(2)
    assert [c.socket.closed for c in (first, second, third)] == [True, True, False]
    opened.pool.retire(3)
    assert not third.socket.closed
    opened.pool.give(third, place)
    assert opened.pool.take() is None
    assert third.socket.closed
    assert opened.pool.free == 3


def test_connections_that_were_not_used_between_two_rests_are_closed_but_for_one():
    opened = Opened(4)
    pool = opened.pool
    connections = opened.idle(4)
    pool.rest()
    assert pool.idle == 4

    places = [pool.place(0) for _ in range(2)]
    used = [pool.take(), pool.take()]
    assert used == [connections[3], connections[2]]
    for connection, place in zip(used, places, strict=True):
        pool.give(connection, place)
    pool.rest()
    assert [one.socket.closed for one in connections] == [True, True, False, False]

    pool.rest()
    pool.rest()
    assert [one.socket.closed for one in connections] == [True, True, False, True]
    assert pool.take() is connections[2]


def test_an_older_connection_is_found_among_those_that_rest():
    opened = Opened(3)
    first, second, third = opened.idle(3)
    opened.pool.rest()
    assert opened.pool.take_older(1) is first
    assert [opened.pool.take() for _ in range(3)] == [third, second, None]


def test_a_connection_that_rests_is_closed_when_it_is_retired():
    opened = Opened(2)
    connections = opened.idle(2)
    opened.pool.rest()
    opened.pool.retire(2)
    assert all(connection.socket.closed for connection in connections)
    assert opened.pool.idle == 0


def test_closing_closes_what_is_idle_only():
    opened = Opened(2)
    first, second = opened.idle(2)
    place = opened.pool.place(0)
    assert opened.pool.take() is second
    opened.pool.close()
    assert (first.socket.closed, second.socket.closed) == (True, False)
    opened.pool.give(second, place)
    assert opened.pool.take() is second


def test_after_a_fork_nothing_of_the_parent_is_used():
    opened = Opened(2)
    (idle,) = opened.idle(1)
    in_use, unfinished = opened.connect(), Connection(time.monotonic)
    place = opened.pool.place(0)
    unfinished.socket = Socket()
    for connection in (idle, in_use, unfinished):
        connection.process = -1
    opened.pool.after_fork()
    assert all(connection.socket.closed for connection in (idle, in_use, unfinished))
    assert (opened.pool.free, opened.pool.idle) == (2, 0)
    # The numbers go on, so that no token of the parent fits a connection of the child.
    assert opened.connect().number == 3
    opened.pool.give(in_use, place)
    del place
    assert (opened.pool.free, opened.pool.idle) == (2, 0)


def test_a_pool_without_references_is_collected_with_its_connections():
    opened = Opened(2)
    (idle,) = opened.idle(1)
    sock, gone = idle.socket, weakref.ref(opened.pool)
    del idle, opened
    assert gone() is None
    assert sock.closed


def test_a_pool_in_a_cycle_goes_as_well():
    """The places find their way back to the pool, which must not keep it alive."""
    opened = Opened(2)
    opened.pool.itself = opened.pool
    gone = weakref.ref(opened.pool)
    del opened
    gc.collect()
    assert gone() is None


def test_threads_share_connections_and_never_exceed_their_number():
    opened = Opened(3)
    lock = threading.Lock()
    in_use, most, total = set(), [0], [0]

    def work():
        for _ in range(300):
            place = opened.pool.place(time.monotonic() + 60)
            connection = opened.pool.take()
            with lock:
                if connection is None:
                    connection = opened.connect()
                    total[0] += 1
                assert connection not in in_use
                in_use.add(connection)
                most[0] = max(most[0], len(in_use))
            os.sched_yield()
            with lock:
                in_use.discard(connection)
            opened.pool.give(connection, place)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert most[0] <= 3
    assert total[0] <= 3
    assert (opened.pool.free, opened.pool.idle) == (3, total[0])
