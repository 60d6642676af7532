"""How much local storage keeps, and who goes first."""

from __future__ import annotations

import os
import tracemalloc

import pytest
from support.storage import (
    Behind,
    Host,
    adding,
    age,
    at_once,
    changing,
    key,
    load,
    record,
    save,
    write_in_order,
)

from flask_msm.record.keys import digest_of
from flask_msm.storage.local import files
from flask_msm.storage.local.journal import FileJournal
from flask_msm.storage.local.sync_state import SyncState
from flask_msm.storage.local.trims import TRIM_EVERY


def fill(host, count, mark=SyncState.SYNCED, *, begin=0, size=1):
    for number in range(begin, begin + count):
        host.local.write(key(number), adding(record(1, a=bytes(size))), mark)


def there(host):
    return {number for number in range(100) if host.local.find(key(number))}


def let_age(host, *numbers):
    """Let files of sessions look as if they were written one after another."""
    sessions = host.shelf.place / "sessions"
    write_in_order(*(sessions / digest_of(key(number)) for number in numbers))


def beside(tmp_path, kind="filesystem", **options):
    return Host(tmp_path / "local", kind, alone=False, **options)


# -- files ---------------------------------------------------------------------------------------


def test_the_session_written_longest_ago_is_removed_first(tmp_path):
    host = beside(tmp_path, sessions=10)
    fill(host, 12)
    let_age(host, *range(12))

    host.local.trim()

    assert there(host) == set(range(3, 12))


def test_as_many_as_are_allowed_stay(tmp_path):
    host = beside(tmp_path, sessions=10)
    fill(host, 10)

    host.local.trim()

    assert len(there(host)) == 10


def test_bytes_are_counted_as_the_disk_counts_them(tmp_path):
    host = beside(tmp_path, size=40_000)
    fill(host, 20, size=100)

    host.local.trim()

    usage = host.shelf.cache.usage()
    sessions = host.shelf.place / "sessions"
    taken = sum(max(path.stat().st_blocks * 512, 100) for path in sessions.iterdir())
    assert usage.size == taken <= 40_000
    assert 0 < usage.sessions == len(there(host)) < 20


def test_mirrored_sessions_go_before_older_ones_that_are_nowhere_else(tmp_path):
    host = beside(tmp_path, sessions=10)
    fill(host, 6, SyncState.OUTAGE)
    fill(host, 6, begin=6)
    let_age(host, *range(12))

    host.local.trim()

    assert there(host) == {*range(6), 9, 10, 11}
    assert host.local.lost == 0
    assert host.troubles == []


def test_sessions_that_are_nowhere_else_are_removed_last_and_reported(tmp_path):
    host = beside(tmp_path, sessions=5)
    fill(host, 8, SyncState.OUTAGE)

    host.local.trim()

    assert len(there(host)) == 4
    assert host.local.lost == 4
    assert host.troubles == ["it is full: 4 sessions were thrown out that exist nowhere else"]


@pytest.mark.parametrize("kind", ["filesystem", "simple"])
def test_every_session_removed_without_a_cluster_is_reported(tmp_path, kind):
    host = Host(tmp_path / "local", kind, sessions=5)
    fill(host, 8)

    host.local.trim()

    assert host.local.lost == 8 - len(there(host)) > 0
    assert "exist nowhere else" in host.troubles[0]


def test_an_expired_session_is_removed_and_is_no_loss(tmp_path):
    host = Host(tmp_path / "local", sessions=5)
    fill(host, 8)
    sessions = host.shelf.place / "sessions"
    for number in range(8):
        path = sessions / digest_of(key(number))
        path.write_bytes(b"\1\0\0\0" + path.read_bytes()[4:])

    host.local.trim()

    assert list(sessions.iterdir()) == []
    assert host.local.lost == 0


def test_only_one_worker_trims_at_a_time(tmp_path):
    host, other = beside(tmp_path, sessions=5), beside(tmp_path, sessions=5)
    fill(host, 8)

    with other.local.alone_at("trim") as alone:
        assert alone
        host.local.trim()
        assert len(there(host)) == 8
    host.local.trim()

    assert len(there(host)) == 4


# -- when it is done -----------------------------------------------------------------------------


def test_expired_sessions_are_removed_at_intervals_also_without_a_cluster(tmp_path):
    host = Host(tmp_path / "local")
    fill(host, 3)
    path = host.shelf.place / "sessions" / digest_of(key(0))
    path.write_bytes(b"\1\0\0\0" + path.read_bytes()[4:])
    assert path.exists()

    host.clock.advance(TRIM_EVERY)
    fill(host, 1, begin=5)

    assert not path.exists()


def test_many_outage_writes_are_followed_by_a_trim(tmp_path):
    """Also when no node answers and nothing is mirrored."""
    host = beside(tmp_path, size=100_000)

    fill(host, 100, SyncState.OUTAGE, size=4000)

    host.local.trim()
    assert host.local.lost > 50
    assert host.shelf.cache.usage().size <= 100_000


def test_a_trim_is_not_done_in_a_request_and_not_asked_for_twice(tmp_path):
    behind = Behind()
    host = Host(tmp_path / "local", later=behind.put)
    host.clock.advance(TRIM_EVERY)

    fill(host, 10)

    assert len(behind.jobs) == 1


def test_a_read_is_never_followed_by_a_trim(tmp_path):
    behind = Behind()
    host = Host(tmp_path / "local", later=behind.put)
    host.clock.advance(TRIM_EVERY)

    load(host.local)

    assert behind.jobs == []


def test_workers_of_a_host_trim_once_a_minute_between_them(tmp_path):
    workers = [beside(tmp_path, later=at_once) for _ in range(3)]
    fill(workers[0], 1)
    path = workers[0].shelf.place / "sessions" / digest_of(key(0))
    lock = path.parent.parent / "locks" / "trim"

    def minute():
        """Return how many workers looked at the files."""
        trims = 0
        for number, worker in enumerate(workers, 1):
            path.write_bytes(b"\1\0\0\0")
            worker.clock.advance(TRIM_EVERY)
            fill(worker, 1, begin=number)
            trims += not path.exists()
        return trims

    assert minute() == 1
    assert minute() == 0
    age(lock, TRIM_EVERY)
    assert minute() == 1


def test_a_worker_whose_host_was_looked_at_looks_again_a_minute_after_that(tmp_path):
    one, other = (beside(tmp_path, later=at_once) for _ in range(2))
    fill(one, 1)
    one.local.trim()
    age(one.shelf.place / "locks" / "trim", TRIM_EVERY - 10)
    other.clock.advance(TRIM_EVERY)

    fill(other, 1)

    assert not other.local.is_trim_due()
    other.clock.advance(15)
    assert other.local.is_trim_due()


def test_a_worker_that_wrote_much_trims_although_another_one_just_did(tmp_path):
    one, other = (beside(tmp_path, size=100_000, later=at_once) for _ in range(2))
    fill(one, 1)
    one.local.trim()

    fill(other, 100, size=4000)

    assert other.shelf.cache.usage().size <= 100_000


def test_a_trim_before_the_clock_was_set_back_does_not_count(tmp_path):
    host = beside(tmp_path)
    host.local.trim()
    age(host.shelf.place / "locks" / "trim", -1000)

    assert host.shelf.cache.trimmed_ago() > TRIM_EVERY


def test_every_worker_knows_how_much_the_one_that_trimmed_found(tmp_path):
    one, other = beside(tmp_path), beside(tmp_path)
    fill(one, 3)

    one.local.trim()

    assert other.shelf.cache.usage() == one.shelf.cache.usage() != (0, 0)


# -- what it asks the system ---------------------------------------------------------------------


@pytest.fixture
def opened(monkeypatch):
    """The files that were opened to see when they expire."""
    paths = []
    look = files.has_expired
    monkeypatch.setattr(
        files, "has_expired", lambda path, now: (paths.append(path), look(path, now))[1]
    )
    return paths


def test_a_trim_opens_no_session_that_has_not_expired(tmp_path, opened):
    host = beside(tmp_path)
    fill(host, 10)

    host.local.trim()

    assert opened == []
    assert len(there(host)) == 10


def test_a_file_of_the_version_before_is_opened_and_stays_until_it_expires(tmp_path, opened):
    host = beside(tmp_path)
    fill(host, 2)
    path = host.shelf.place / "sessions" / digest_of(key(0))
    path.write_bytes(path.read_bytes())

    host.local.trim()

    assert opened == [str(path)]
    assert there(host) == {0, 1}


def test_a_file_whose_time_is_over_is_removed_only_if_its_content_agrees(tmp_path):
    host = beside(tmp_path)
    fill(host, 2)
    over, wrong = (host.shelf.place / "sessions" / digest_of(key(number)) for number in range(2))
    over.write_bytes(b"\1\0\0\0")
    for path in (over, wrong):
        os.utime(path, ns=(0, 10**9 + files._STAMP))

    host.local.trim()

    assert not over.exists()
    assert wrong.exists()


def test_a_trim_looks_at_single_marks_only_of_what_it_removes(tmp_path, monkeypatch):
    host = beside(tmp_path, sessions=10)
    fill(host, 12, SyncState.OUTAGE)
    asked = []
    contains = FileJournal.__contains__
    monkeypatch.setattr(
        FileJournal, "__contains__", lambda self, at: (asked.append(at), contains(self, at))[1]
    )

    host.local.trim()

    assert host.local.lost == len(asked) == 3


# -- memory --------------------------------------------------------------------------------------


def test_in_memory_nothing_is_ever_too_much(tmp_path):
    host = beside(tmp_path, "simple", sessions=10)

    for number in range(100):
        fill(host, 1, begin=number)
        assert host.shelf.cache.usage().sessions <= 10

    assert there(host) == set(range(90, 100))


def test_in_memory_bytes_are_bounded(tmp_path):
    host = beside(tmp_path, "simple", size=20_000)

    for number in range(100):
        fill(host, 1, begin=number, size=1000)
        assert host.shelf.cache.usage().size <= 20_000

    assert 10 < len(there(host)) < 20


def test_in_memory_what_was_used_longest_ago_goes_first(tmp_path):
    host = beside(tmp_path, "simple", sessions=3)
    fill(host, 3)
    load(host.local, key(0))

    fill(host, 1, begin=3)

    assert there(host) == {0, 2, 3}


@pytest.mark.parametrize("dirty", [5, 80])
def test_in_memory_mirrored_sessions_go_first_however_many_others_there_are(tmp_path, dirty):
    host = beside(tmp_path, "simple", sessions=dirty + 10)
    fill(host, dirty, SyncState.OUTAGE)

    for number in range(dirty, dirty + 15):
        host.local.confirm(key(number), record(1))

    assert set(range(dirty)) <= there(host)
    host.local.trim()
    assert host.local.lost == 0


def test_sessions_in_memory_that_are_nowhere_else_are_removed_last_and_reported(tmp_path):
    host = beside(tmp_path, "simple", sessions=5)
    fill(host, 8, SyncState.OUTAGE)

    host.local.trim()

    assert there(host) == {3, 4, 5, 6, 7}
    assert host.local.lost == 3
    assert "3 sessions were thrown out" in host.troubles[0]


def test_sessions_that_grow_and_shrink_are_counted_right(tmp_path):
    host = beside(tmp_path, "simple")
    fill(host, 1, size=10)
    small = host.shelf.cache.usage().size
    host.local.write(key(0), changing(a=bytes(3000)), SyncState.SYNCED)
    assert small + 2990 <= host.shelf.cache.usage().size < small + 3000

    host.local.drop(key(0), host.local.find(key(0)).record)

    assert host.shelf.cache.usage() == (0, 0)


def test_the_memory_of_a_worker_does_not_grow_with_the_sessions_it_has_seen(tmp_path):
    host = beside(tmp_path, "simple", sessions=100, later=at_once)
    fill(host, 300)
    for number in range(3300):
        key(number)  # a process remembers the last 4,096
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        fill(host, 3000, begin=300)
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()

    assert grown < 100_000


@pytest.mark.parametrize("kind", ["simple", "filesystem"])
def test_what_workers_share_goes_as_sessions_do_when_there_is_too_much(tmp_path, kind):
    host = beside(tmp_path, kind, sessions=10, later=at_once)
    host.local.put_blob("fleet:relay", b"x")

    fill(host, 30)
    if kind == "filesystem":
        # Files of one tick of the file system's clock have no order.
        let_age(host, *range(30))
    host.local.trim()

    assert host.local.find(key(29)) is not None


def test_files_cost_a_worker_no_memory(tmp_path):
    host = beside(tmp_path)
    fill(host, 10)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        fill(host, 1000, begin=10)
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()

    assert grown < 100_000
    assert len(list((host.shelf.place / "sessions").iterdir())) == 1010


def test_saving_goes_on_when_nothing_takes_the_trim(tmp_path):
    host = Host(tmp_path / "local", later=lambda _: False)
    host.clock.advance(TRIM_EVERY)

    assert save(host.local, adding(record(1))).copies == 1
