"""Nothing in local storage is deleted but under the lock of its key and after a second look."""

from __future__ import annotations

import threading
from contextlib import contextmanager

import pytest
from cachelib import SimpleCache
from support.storage import (
    KEY,
    Host,
    Nearby,
    adding,
    age,
    changing,
    key,
    record,
    values,
    write_in_order,
)

from flask_msm.record.keys import digest_of
from flask_msm.storage.local import locks as key_locks
from flask_msm.storage.local.cache import Limits
from flask_msm.storage.local.file_cache import ABANDONED
from flask_msm.storage.local.locks import KeyLocks
from flask_msm.storage.local.memory import IndexedCache
from flask_msm.storage.local.sync_state import SyncState


#: Time in seconds that threads may take for what they do.
LONG = 120
EXPIRED = b"\1\0\0\0"


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setattr(key_locks, "PATIENCE", 0.01)
    monkeypatch.setattr(key_locks, "SHORT_PATIENCE", 0.01)


class Folder:
    """A folder with two workers of its host."""

    def __init__(self, place, kind="filesystem", **options):
        self.one, self.other = (Host(place, kind, alone=False, **options) for _ in range(2))
        for number in range(10):
            self.one.local.write(key(number), adding(record(1, a=b"1")), SyncState.SYNCED)

    def path(self, number):
        return self.one.shelf.place / "sessions" / digest_of(key(number))

    def there(self):
        return {number for number in range(10) if self.one.local.find(key(number))}

    def before_each_removal(self, act):
        """Let the other worker do *act* just before the first one takes a lock to remove."""
        hold = self.one.shelf.locks.hold

        @contextmanager
        def late(at, *, wait=True):
            if not wait:
                act(at)
            with hold(at, wait=wait) as held:
                yield held

        self.one.shelf.locks.hold = late


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path / "local", sessions=5)


def test_a_session_written_while_a_trim_runs_is_not_removed(folder):
    written = set()

    def write(digest):
        at = next(key(number) for number in range(10) if digest_of(key(number)) == digest)
        folder.other.local.write(at, changing(b=b"2"), SyncState.OUTAGE)
        written.add(digest)

    folder.before_each_removal(write)
    folder.one.local.trim()

    assert folder.there() == set(range(10))
    assert len(written) == 10
    assert len(folder.other.local.dirty_keys()) == 10
    assert folder.one.local.lost == 0


def test_a_session_marked_as_unsynced_while_a_trim_runs_is_not_removed(folder):
    """Another worker has set its mark and is about to write."""
    folder.before_each_removal(folder.other.shelf.journal.add)

    folder.one.local.trim()

    assert folder.there() == set(range(10))


def test_an_expired_session_written_anew_while_a_trim_runs_stays(folder):
    folder.path(0).write_bytes(EXPIRED + folder.path(0).read_bytes()[4:])
    folder.one.shelf.cache._limits = Limits(1000, 10**9)
    folder.before_each_removal(
        lambda _: folder.other.local.write(key(0), adding(record(2)), SyncState.OUTAGE)
    )

    folder.one.local.trim()

    assert folder.there() == set(range(10))


def test_a_trim_leaves_alone_what_another_process_holds_the_lock_of(folder):
    folder.path(0).write_bytes(EXPIRED)
    write_in_order(*map(folder.path, range(1, 10)))
    unfinished = folder.path(0).with_name(f"{folder.path(0).name}.1.2.__wz_cache")
    unfinished.write_bytes(b"half")
    age(unfinished, ABANDONED + 1)

    with folder.other.shelf.locks.hold(key(0)), folder.other.shelf.locks.hold(key(1)):
        folder.one.local.trim()
        assert folder.path(0).exists()
        assert unfinished.exists()
        assert 1 in folder.there()
        assert 2 not in folder.there()
    folder.one.local.trim()

    assert not folder.path(0).exists()
    assert not unfinished.exists()


def test_a_lock_says_whether_it_is_held(folder):
    locks, others = folder.one.shelf.locks, folder.other.shelf.locks

    with locks.hold(KEY) as held:
        assert held
        with others.hold(KEY) as too, others.hold(KEY[:-2] + "3f", wait=False) as another:
            assert not too
            assert another
    with KeyLocks().hold(KEY) as held:
        assert held


def test_a_lock_whose_file_cannot_be_opened_is_not_held(folder):
    with KeyLocks(folder.one.shelf.place / "gone").hold(KEY) as held:
        assert not held


def test_without_the_lock_nothing_is_dropped_and_no_mark_goes(folder):
    host = folder.one
    host.local.write(KEY, adding(record(2, b=b"2")), SyncState.OUTAGE)
    seen = host.local.find(KEY)

    with folder.other.shelf.locks.hold(KEY):
        assert not host.local.drop(KEY, seen.record)
        assert not host.local.confirm(KEY, seen.record)
        host.local.forget_mark(key(9))

    assert host.local.find(KEY) == seen
    assert host.local.dirty_keys() == [KEY]
    assert host.local.confirm(KEY, seen.record)
    assert host.local.dirty_keys() == []


def test_a_copy_that_was_not_made_for_want_of_the_lock_is_made_at_the_next_read(tmp_path):
    worker = Nearby(tmp_path / "local")
    elsewhere = KeyLocks(worker.shelf.place / "locks")
    worker.mirror.note(KEY, record(1, a=b"1"))
    with elsewhere.hold(KEY):
        worker.mirroring.run()
    assert worker.local.find(KEY) is None

    worker.mirror.note(KEY, record(1, a=b"1"))
    worker.mirroring.run()

    assert values(worker.local.find(KEY)) == {"a": b"1"}


# -- a cache that cannot list its keys -----------------------------------------------------------


def indexed(sessions=5, cache=None):
    """Return a cache with an index, its locks, and the hashes of what is nowhere else."""
    dirty, locks = set(), KeyLocks()
    cache = cache or SimpleCache(threshold=1000)
    return IndexedCache(cache, Limits(sessions, 10**9), dirty, locks), locks, dirty


def late(locks, act):
    hold = locks.hold

    @contextmanager
    def later(at, *, wait=True):
        act(at)
        with hold(at, wait=wait) as held:
            yield held

    locks.hold = later


def test_a_session_stored_while_room_is_made_is_not_removed():
    cache, locks, dirty = indexed()
    for number in range(6):
        cache.set(key(number), b"old", 100)
    again = iter([key(0)])

    def store(at):
        if at == next(again, None):
            dirty.add(digest_of(at))
            cache.set(at, b"new", 100)

    late(locks, store)
    cache.evict()

    assert cache.get(key(0)) == b"new"
    assert cache.get(key(1)) is None
    assert cache.usage().sessions == 5


def test_a_session_marked_by_another_process_is_removed_after_synced_ones():
    cache, locks, dirty = indexed()
    for number in range(6):
        cache.set(key(number), b"old", 100)

    late(locks, lambda at: at == key(0) and dirty.add(digest_of(at)))
    cache.evict()

    assert cache.get(key(0)) == b"old"
    assert cache.get(key(1)) is None
    assert cache.lost == 0


def test_an_expired_session_stored_again_is_not_removed_by_a_trim():
    cache, locks, _ = indexed()
    cache.set(key(0), b"old", 100)
    cache._index[key(0)] = 3, 0.0

    late(locks, lambda at: cache.set(at, b"new", 100))
    cache.trim()

    assert cache.get(key(0)) == b"new"
    assert cache.digests() == [digest_of(key(0))]


def test_a_session_another_process_has_stored_again_is_not_removed_by_a_trim():
    shared = SimpleCache(threshold=1000)
    cache, _, _ = indexed(cache=shared)
    cache.set(key(0), b"old", 100)
    cache._index[key(0)] = 3, 0.0
    shared.set(key(0), b"new", 100)

    cache.trim()

    assert cache.get(key(0)) == b"new"


def test_a_session_stored_during_a_lookup_in_vain_stays_in_the_index():
    class Slow(SimpleCache):
        def get(self, at):
            found = super().get(at)
            if found is None and at == key(0):
                cache.set(at, b"new", 100)
            return found

    cache, _, _ = indexed(cache=Slow(threshold=1000))

    assert cache.get(key(0)) is None
    assert cache.digests() == [digest_of(key(0))]
    assert cache.usage().size == 3


def test_threads_that_push_each_others_sessions_out_do_not_wait_for_each_other():
    host = Host(kind="simple", alone=False, sessions=1)

    def write(first):
        for number in range(300):
            at = key(first + number % 7)
            host.local.write(at, adding(record(1, a=b"1")), SyncState.SYNCED)

    threads = [threading.Thread(target=write, args=(n * 7,), daemon=True) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG)

    assert not any(thread.is_alive() for thread in threads)
    assert host.shelf.cache.usage().sessions == 1
