"""Parallel changes of one session on one host: written together, each with an answer of its own."""

from __future__ import annotations

import os
import threading

import pytest
from support.storage import KEY, MAX_SIZE, Host, adding, changing, key, record, save, values

from flask_msm.storage.local.store import LOCAL
from flask_msm.storage.local.sync_state import SyncState
from flask_msm.storage.local.turns import Turns
from flask_msm.storage.store import LocalStorageError, RecordTooLargeError
from flask_msm.testing.memcached import wait_until


#: Time in seconds that threads may take for what they do.
LONG = 120


class Crowd:
    """Threads that change one session at the same time: all wait before the first one writes.

    Attributes:
        answers: What each of them got, by its name.
        writes: How often the session was written.
    """

    def __init__(self, host) -> None:
        self.host = host
        self.answers = {}
        self.writes = 0
        put = host.shelf.cache.set

        def counted(*arguments):
            self.writes += 1
            put(*arguments)

        host.shelf.cache.set = counted

    def write(self, **rewrites) -> None:
        """Let each of *rewrites* be made by a thread of its own."""

        def work(name, rewrite):
            try:
                self.answers[name] = self.host.local.write(KEY, rewrite, SyncState.OUTAGE)
            except BaseException as error:  # noqa: BLE001  (looked at by the test)
                self.answers[name] = error

        threads = []
        waiting = self.host.local._turns._waiting
        with self.host.shelf.locks.hold(KEY):
            for count, (name, rewrite) in enumerate(rewrites.items(), 1):
                threads.append(threading.Thread(target=work, args=(name, rewrite), daemon=True))
                threads[-1].start()
                wait_until(lambda c=count: len(waiting.get(KEY, ())) == c, "it waits for its turn")
        for thread in threads:
            thread.join(LONG)
            assert not thread.is_alive()
        assert self.host.local._turns._waiting == {}


@pytest.fixture
def crowd(tmp_path):
    host = Host(tmp_path / "local", alone=False)
    save(host.local, adding(record(1, first=b"1")))
    return Crowd(host)


def test_parallel_changes_of_a_session_are_written_at_once_and_all_kept(crowd):
    names = [f"n{number}" for number in range(20)]

    crowd.write(**{name: changing(**{name: b"x"}) for name in names})

    assert crowd.writes == 1
    kept = crowd.host.local.find(KEY)
    assert values(kept) == {"first": b"1"} | dict.fromkeys(names, b"x")
    assert all(saved.record == kept.record for saved in crowd.answers.values())
    assert {saved.holders for saved in crowd.answers.values()} == {frozenset({LOCAL})}


def test_a_change_that_does_not_fit_fails_alone(crowd):
    crowd.write(a=changing(a=b"1"), big=changing(big=os.urandom(MAX_SIZE)), b=changing(b=b"2"))

    assert isinstance(crowd.answers["big"], RecordTooLargeError)
    assert values(crowd.host.local.find(KEY)) == {"first": b"1", "a": b"1", "b": b"2"}
    assert crowd.answers["a"].copies == crowd.answers["b"].copies == 1


def test_a_change_that_raises_fails_alone(crowd):
    def fails(seen):
        raise RuntimeError

    crowd.write(a=changing(a=b"1"), wrong=fails, b=changing(b=b"2"))

    assert isinstance(crowd.answers["wrong"], RuntimeError)
    assert values(crowd.host.local.find(KEY)) == {"first": b"1", "a": b"1", "b": b"2"}


def test_who_is_interrupted_while_writing_for_others_leaves_them_to_themselves(crowd):
    put = crowd.host.shelf.cache.set

    def interrupted(*arguments):
        crowd.host.shelf.cache.set = put
        raise KeyboardInterrupt

    crowd.host.shelf.cache.set = interrupted
    crowd.write(a=changing(a=b"1"), b=changing(b=b"2"), c=changing(c=b"3"))

    errors = [answer for answer in crowd.answers.values() if isinstance(answer, BaseException)]
    assert [type(error) for error in errors] == [KeyboardInterrupt]
    kept = values(crowd.host.local.find(KEY))
    assert all(name in kept for name, answer in crowd.answers.items() if answer not in errors)


def test_a_storage_that_fails_acknowledges_none_of_them(crowd):
    def full(*_):
        raise LocalStorageError("full")

    crowd.host.shelf.cache.set = full
    crowd.write(a=changing(a=b"1"), b=changing(b=b"2"))

    assert [saved.copies for saved in crowd.answers.values()] == [0, 0]


def test_the_highest_mark_stays(crowd):
    crowd.host.local.confirm(key(1), record(1))
    turns = [crowd.host.local.write(key(1), changing(a=b"1"), mark) for mark in SyncState]

    assert len(turns) == len(SyncState)
    assert crowd.host.local.find(key(1)).mark is max(SyncState)


def test_a_child_does_not_write_what_waited_in_its_parent(crowd):
    turns = crowd.host.local._turns
    with crowd.host.shelf.locks.hold(KEY):
        thread = threading.Thread(
            target=crowd.host.local.write,
            args=(KEY, changing(parent=b"1"), SyncState.OUTAGE),
            daemon=True,
        )
        thread.start()
        wait_until(lambda: KEY in turns._waiting, "it waits for its turn")
        child = os.fork()
        if not child:
            status = 1
            try:
                local = Host(crowd.host.shelf.place.parent, alone=False).local
                local._turns = turns
                local.write(key(1), adding(record(1)), SyncState.OUTAGE)
                status = int(KEY in turns._waiting)
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    thread.join(LONG)

    assert values(crowd.host.local.find(KEY)) == {"first": b"1", "parent": b"1"}


def test_a_change_that_waits_no_more_is_not_written_by_another_one():
    turns = Turns()
    one, other, own = object(), object(), object()
    for turn in (one, other):
        turns.add(KEY, turn)

    turns.leave(KEY, one)
    turns.leave(KEY, one)  # it is served already

    assert turns.take(KEY, own) == [other, own]
    turns.leave(KEY, other)
    assert turns.take(KEY, own) == [own]


def test_nothing_waits_for_a_session_that_the_last_change_left():
    turns = Turns()
    one = object()
    turns.add(KEY, one)

    turns.leave(KEY, one)

    assert turns.take(KEY, one) == [one]


def test_a_change_that_waited_before_a_fork_is_written_by_the_parent_alone(monkeypatch):
    turns = Turns()
    before, own = object(), object()
    turns.add(KEY, before)
    monkeypatch.setattr(os, "getpid", lambda: 1)

    turns.add(KEY, own)

    assert turns.take(KEY, own) == [own]
