"""Objects only one process can hold: bounded, idle ones go, and nothing happens under the lock."""

from __future__ import annotations

import os

from support.clock import FakeClock

from flask_msm.sessions.live_objects import MAX_IDLE, MAX_OBJECTS, Kept, LiveObjects


LIFE = 100.0


def make(**options):
    clock = FakeClock()
    return LiveObjects(clock, **options), clock


def keep(live, key, gone=(), life=LIFE, **values):
    kept = {name: Kept(value, None) for name, value in values.items()}
    return live.update(key, kept, gone, life=life)


def values(live, key):
    return {name: kept.value for name, kept in live.get(key, life=LIFE).items()}


def test_an_object_that_is_kept_is_found_by_key():
    live, _ = make()
    keep(live, "one", lock=1)
    keep(live, "other", lock=2)

    assert values(live, "one") == {"lock": 1}
    assert values(live, "third") == {}


def test_an_update_adds_replaces_and_removes():
    live, _ = make()
    keep(live, "one", lock=1, job=1)

    left = keep(live, "one", lock=2, gone=["job", "never there"])

    assert {name: kept.value for name, kept in left.items()} == {"lock": 2}
    assert values(live, "one") == {"lock": 2}


def test_a_session_without_objects_takes_no_room():
    live, _ = make()
    keep(live, "one", lock=1)
    keep(live, "one", gone=["lock"])

    assert len(live) == 0


def test_nothing_stays_for_longer_than_a_day():
    live, clock = make()
    keep(live, "one", lock=1, life=31 * 24 * 3600)
    clock.advance(MAX_IDLE + 1)

    assert values(live, "one") == {}
    assert live.dropped == 1


def test_the_least_recently_used_session_makes_room():
    live, _ = make(limit=2)
    keep(live, "one", lock=1)
    keep(live, "other", lock=2)
    values(live, "one")

    keep(live, "third", lock=3)

    assert [bool(values(live, key)) for key in ("one", "other", "third")] == [True, False, True]
    assert live.dropped == 1


def test_one_session_keeps_so_many_objects():
    live, _ = make()

    keep(live, "one", **{f"n{number}": number for number in range(10_000)})

    assert len(values(live, "one")) == MAX_OBJECTS
    assert live.dropped == 10_000 - MAX_OBJECTS


def test_an_object_may_use_the_store_when_it_is_collected():
    live, clock = make(limit=1)

    class Last:
        def __del__(self):
            gone.append(values(live, "elsewhere"))

    gone = []
    keep(live, "one", last=Last())
    keep(live, "other", lock=1, last=Last())  # too many sessions
    keep(live, "other", gone=["last"])  # removed
    keep(live, "other", last=Last())
    live.discard("other")
    keep(live, "other", last=Last())
    clock.advance(LIFE + 1)
    values(live, "other")  # too old

    assert gone == [{}] * 4


def test_a_forked_process_begins_without():
    live, _ = make()
    keep(live, "one", lock=1)
    reader, writer = os.pipe()

    pid = os.fork()
    if pid == 0:
        os.write(writer, str(len(values(live, "one"))).encode())
        os._exit(0)
    os.waitpid(pid, 0)

    assert os.read(reader, 9) == b"0"
    assert values(live, "one") == {"lock": 1}
