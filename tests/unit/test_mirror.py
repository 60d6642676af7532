"""Copies of recent sessions on this host, made behind the response."""

from __future__ import annotations

import shutil

import pytest
from flask import session
from support.apps import make_app
from support.storage import KEY, MAX_SIZE, Nearby, adding, load, record, save, values

from flask_msm.storage.store import FRESH
from flask_msm.testing import settle


def test_of_a_session_that_waits_for_its_mirror_only_the_newest_is_copied(monkeypatch):
    shop = make_app(testing=False)
    mirror = shop.state.parts.cluster.mirror
    jobs = []
    monkeypatch.setattr(mirror._background, "put", lambda job: jobs.append(job) or True)

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
    monkeypatch.setattr(worker.local, "trim", lambda: trimmed.append(1))
    save(worker.store, adding(record(1, a=b"1")), known=FRESH)
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


def test_when_the_folder_fails_the_event_says_which(tmp_path):
    shop = make_app(MSM_LOCAL_CACHE="filesystem", MSM_LOCAL_DIR=str(tmp_path), MSM_MIRROR=True)
    shop.do(lambda: session.update(name="anna"))
    local = shop.state.parts.local
    settle(shop.app)
    shutil.rmtree(local.shelf.place / "sessions")

    shop.do(lambda: session.update(name="bob"))
    settle(shop.app)

    failed = [e for e in shop.state.parts.events.newest() if e.kind == "local_storage_failed"]
    assert failed[0].text.startswith(f"local storage in {local.shelf.place}: ")
