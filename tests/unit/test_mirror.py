"""Copies of recent sessions on this host, made behind the response."""

from __future__ import annotations

import shutil

import pytest
from flask import session
from support.apps import make_app
from support.storage import (
    KEY,
    MAX_SIZE,
    Nearby,
    adding,
    alias,
    key,
    load,
    record,
    save,
    tombstone,
    values,
)

from flask_msm.record.hybrid_clock import stamp_at
from flask_msm.storage.failover import COPIED, STEP
from flask_msm.storage.mirror import COLLECTED
from flask_msm.storage.store import FRESH
from flask_msm.testing import settle


def test_of_a_session_that_waits_for_its_mirror_only_the_newest_is_copied(monkeypatch):
    shop = make_app(testing=False)
    mirror = shop.state.parts.cluster.mirror
    jobs = []
    monkeypatch.setattr(mirror._background, "put", lambda job, **_: jobs.append(job) or True)

    for number in range(5):
        shop.do(lambda n=number: session.update(n=n))
    for job in jobs:
        job(0.0)

    local = shop.state.parts.local
    entry = local.find(shop.key())
    assert len(jobs) == 1
    assert entry.record.version == shop.token().version


def test_no_request_that_makes_its_own_copy_waits_for_the_removal_of_what_is_too_much(monkeypatch):
    worker = Nearby()
    trimmed = []
    monkeypatch.setattr(worker.local, "is_trim_due", lambda: True)
    save(worker.store, adding(record(1, a=b"1")), known=FRESH)
    shelf = worker.local._shelves.open()
    monkeypatch.setattr(shelf.cache, "trim", lambda: trimmed.append(1) or 0)
    worker.outage()

    assert values(load(worker.store)) == {"a": b"1"}
    assert trimmed == []

    worker.mirroring.run()
    assert trimmed == [1]


def test_a_copy_of_what_was_seen_before_a_newer_one_was_made_is_no_reason_to_hand_over():
    """A worker read the session before another one of the host changed it, and copies it after."""
    late, quick = Nearby(), Nearby()
    late.local = late.mirror._local = quick.local
    late.mirror.note(KEY, record(1, a=b"1"))
    quick.clock.advance(0.001)
    quick.mirror.note(KEY, record(2, a=b"2"))
    quick.mirroring.run()
    late.mirroring.run()

    assert quick.local.find(KEY).record == record(2, a=b"2")
    assert quick.local.dirty_keys() == []


def test_who_asks_for_a_session_that_others_keep_changing_makes_one_copy():
    worker = Nearby()
    confirm = worker.local.confirm
    made = []

    def goes_on(key, found, **options):
        made.append(found.version)
        if len(made) < 10:
            worker.mirror.note(KEY, record(len(made) + 1, a=b"1"))
        return confirm(key, found, **options)

    worker.local.confirm = goes_on
    worker.mirror.note(KEY, record(1, a=b"1"))
    worker.mirror.catch_up(KEY)
    assert made == [1]

    worker.mirroring.run()
    assert made == list(range(1, 11))
    assert worker.local.find(KEY).record.version == 10


@pytest.mark.parametrize("failure", ["too large", "fault"])
def test_a_copy_that_fails_while_a_newer_one_comes_does_not_keep_later_ones_from_being_made(
    monkeypatch, failure
):
    worker = Nearby()
    confirm = worker.local.confirm

    def fails_once(key, found, **options):
        monkeypatch.setattr(worker.local, "confirm", confirm)
        worker.mirror.note(KEY, record(2, a=b"2"))
        if failure == "fault":
            raise MemoryError
        big = found.attributes._replace(entries={"a": (1, bytes(MAX_SIZE))})
        confirm(key, found._replace(attributes=big), **options)

    monkeypatch.setattr(worker.local, "confirm", fails_once)
    worker.mirror.note(KEY, record(1, a=b"1"))
    if failure == "fault":
        with pytest.raises(MemoryError):
            worker.mirroring.run()
    else:
        worker.mirroring.run()

    worker.mirror.note(KEY, record(2, a=b"2"))
    worker.mirroring.run()

    assert worker.local.find(KEY).record == record(2, a=b"2")


def replaced_by_a_file(folder):
    shutil.rmtree(folder)
    folder.touch()


def test_when_the_folder_fails_the_event_says_which(tmp_path):
    shop = make_app(MSM_LOCAL_CACHE="filesystem", MSM_LOCAL_DIR=str(tmp_path), MSM_MIRROR=True)
    shop.do(lambda: session.update(name="anna"))
    local = shop.state.parts.local
    settle(shop.app)
    replaced_by_a_file(local.shelf.place / "sessions")

    shop.do(lambda: session.update(name="bob"))
    settle(shop.app)

    failed = [e for e in shop.state.parts.events.newest() if e.kind == "local_storage_failed"]
    assert failed[0].text.startswith(f"local storage in {local.shelf.place}: ")


def test_when_the_folder_works_again_there_is_an_event(tmp_path):
    shop = make_app(MSM_LOCAL_CACHE="filesystem", MSM_LOCAL_DIR=str(tmp_path), MSM_MIRROR=True)
    shop.do(lambda: session.update(name="anna"))
    settle(shop.app)
    sessions = shop.state.parts.local.shelf.place / "sessions"
    replaced_by_a_file(sessions)
    shop.do(lambda: session.update(name="bob"))
    settle(shop.app)
    sessions.unlink()

    shop.do(lambda: session.update(name="carla"))
    settle(shop.app)

    kinds = [event.kind for event in shop.state.parts.events.newest()]
    assert kinds.index("local_storage_works") < kinds.index("local_storage_failed")


def test_changes_of_many_sessions_are_copied_by_one_job():
    worker = Nearby()
    for number in range(5):
        worker.mirror.note(key(number), record(1, a=b"1"))
    worker.mirror.note(key(0), record(2, a=b"2"))

    assert len(worker.mirroring.jobs) == 1

    worker.mirroring.run()
    assert [worker.local.find(key(number)).record.version for number in range(5)] == [2, 1, 1, 1, 1]


def test_what_is_noted_while_others_are_copied_is_copied_as_well():
    worker = Nearby()
    confirm = worker.local.confirm

    def goes_on(at, found, **options):
        worker.mirror.note(key(1), record(1, a=b"1"))
        return confirm(at, found, **options)

    worker.local.confirm = goes_on
    worker.mirror.note(KEY, record(1, a=b"1"))
    worker.mirroring.run()

    assert worker.local.find(key(1)) is not None


@pytest.mark.parametrize("made", [tombstone(2), alias(2, key(7))], ids=["the end", "the move"])
def test_the_end_or_the_move_of_a_session_is_copied_at_once(made):
    worker = Nearby()
    worker.mirror.note(key(1), record(1, a=b"1"))

    worker.mirror.note(KEY, made)

    assert worker.mirroring.rests == [COLLECTED, 0.0]


def test_a_copy_that_cannot_be_made_does_not_keep_others_from_being_made():
    worker = Nearby()
    confirm = worker.local.confirm

    def fails(at, found, **options):
        if at == key(0):
            raise ZeroDivisionError
        return confirm(at, found, **options)

    worker.local.confirm = fails
    for number in range(3):
        worker.mirror.note(key(number), record(1, a=b"1"))

    with pytest.raises(ZeroDivisionError):
        worker.mirroring.run()

    assert worker.local.find(key(1)) is not None
    assert worker.local.find(key(2)) is not None


class Pair:
    """Two workers of one host: one has changed a session, and copies that with the next job.

    Attributes:
        rests: How often the other one rested to wait for that.
        seen: The version that the browser has seen.
    """

    def __init__(self, folder, made_at: float = 0.0, **options) -> None:
        self.one = Nearby(folder)
        self.other = Nearby(folder, nodes=self.one.nodes, clock=self.one.clock, **options)
        self.rests = 0
        self.seen = stamp_at(self.one.clock.time() - made_at)
        self.other.store._rest = self.rest
        old, new = record(1, a=b"1"), record(self.seen, a=b"2")
        self.one.local.confirm(KEY, old)
        save(self.one.store, adding(new), known=FRESH)

    def rest(self, seconds: float) -> None:
        self.rests += 1
        self.one.clock.advance(seconds)
        if self.rests == 3:
            self.one.mirroring.run()


def test_a_worker_waits_for_the_copy_that_another_one_of_its_host_is_about_to_make(tmp_path):
    pair = Pair(tmp_path / "local")
    pair.other.outage()

    found = load(pair.other.store, at_least=pair.seen)

    assert values(found) == {"a": b"2"}
    assert pair.rests == 3


def test_it_waits_as_well_if_some_nodes_are_left(tmp_path):
    pair = Pair(tmp_path / "local")
    for home in pair.other.placement.homes(KEY):
        pair.one.nodes[home].fail()

    found = load(pair.other.store, at_least=pair.seen)

    assert values(found) == {"a": b"2"}
    assert pair.rests == 3


#: Time in seconds a request may take.
A_REQUEST = 1.0


def test_it_waits_for_a_change_that_nodes_took_as_late_as_a_request_may_be(tmp_path):
    pair = Pair(tmp_path / "local", made_at=A_REQUEST + COPIED / 2)
    pair.other.outage()
    deadline = pair.one.clock.monotonic() + A_REQUEST

    found = pair.other.store.load(KEY, at_least=pair.seen, deadline=deadline)

    assert values(found) == {"a": b"2"}
    assert pair.rests == 3


def test_no_worker_waits_for_a_copy_that_none_of_its_host_is_about_to_make(tmp_path):
    pair = Pair(tmp_path / "local")
    pair.one.mirroring.run()
    pair.other.outage()
    seen = pair.seen + 1

    assert values(load(pair.other.store, at_least=seen)) == {"a": b"2"}
    assert pair.rests == 0


@pytest.mark.parametrize(
    "ago", [A_REQUEST + COPIED + 0.01, -1.0], ids=["long ago", "by another clock"]
)
def test_for_a_change_that_would_be_here_by_now_no_worker_waits(tmp_path, ago):
    pair = Pair(tmp_path / "local", made_at=ago)
    pair.other.outage()
    deadline = pair.one.clock.monotonic() + A_REQUEST

    found = pair.other.store.load(KEY, at_least=pair.seen, deadline=deadline)

    assert values(found) == {"a": b"1"}
    assert pair.rests == 0


def test_no_worker_waits_longer_than_the_copy_may_take(tmp_path):
    pair = Pair(tmp_path / "local")
    pair.one.mirroring.jobs.clear()
    pair.other.outage()

    assert values(load(pair.other.store, at_least=pair.seen)) == {"a": b"1"}
    assert pair.rests == round(COPIED / STEP)


def test_no_worker_waits_beyond_the_deadline_of_its_request(tmp_path):
    pair = Pair(tmp_path / "local")
    pair.other.outage()
    deadline = pair.one.clock.monotonic() + STEP / 2

    found = pair.other.store.load(KEY, at_least=pair.seen, deadline=deadline)

    assert values(found) == {"a": b"1"}
    assert pair.rests == 0


def test_a_copy_that_could_not_be_queued_is_counted_and_queued_with_the_next_change(monkeypatch):
    worker = Nearby()
    monkeypatch.setattr(worker.mirroring, "put", lambda job, **_: False)
    worker.mirror.note(KEY, record(1, a=b"1"))
    assert worker.mirror.dropped == 1

    monkeypatch.undo()
    worker.mirror.note(KEY, record(1, a=b"1"))
    worker.mirroring.run()

    assert worker.local.find(KEY).record == record(1, a=b"1")


def test_an_end_that_could_not_be_queued_waits_with_what_is_queued_already(monkeypatch):
    worker = Nearby()
    worker.mirror.note(key(1), record(1, a=b"1"))
    monkeypatch.setattr(worker.mirroring, "put", lambda job, **_: False)

    worker.mirror.note(KEY, tombstone(2))
    assert worker.mirror.dropped == 0
    worker.mirroring.run()

    assert worker.local.find(KEY).record.version == 2


def test_what_waited_before_a_fork_is_copied_by_the_parent_alone(monkeypatch):
    worker = Nearby()
    worker.mirror.note(key(1), record(1, a=b"1"))
    worker.mirroring.jobs.clear()
    monkeypatch.setattr("os.getpid", lambda: 1)

    worker.mirror.note(key(2), record(1, a=b"1"))
    worker.mirroring.run()

    assert worker.local.find(key(1)) is None
    assert worker.local.find(key(2)) is not None


def test_a_mirror_remembers_no_more_sessions_than_its_bound(monkeypatch):
    monkeypatch.setattr("flask_msm.storage.mirror.REMEMBERED", 2)
    worker = Nearby()

    for number in range(4):
        worker.mirror.note(key(number), record(1, a=b"1"))

    assert list(worker.mirror.recent) == [key(2), key(3)]
