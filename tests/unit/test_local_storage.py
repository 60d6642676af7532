"""Sessions on this host: what a mark means, what a disk may do, what a crash leaves."""

from __future__ import annotations

import errno
import logging
import os
import resource
import subprocess
import time

import cachelib.simple
import pytest
from cachelib import SimpleCache
from support.clock import FakeClock
from support.storage import (
    ENVELOPE,
    FOREIGN,
    KEY,
    PREFIX,
    RING,
    Host,
    adding,
    age,
    changing,
    key,
    load,
    record,
    save,
    tombstone,
    values,
)

from flask_msm.process.clock import FleetClock
from flask_msm.record.keys import digest_of, keyring
from flask_msm.storage.local.file_cache import ABANDONED
from flask_msm.storage.local.files import CHUNK
from flask_msm.storage.local.sync_state import Entry, SyncState
from flask_msm.storage.store import LocalStorageError, Outcome


@pytest.fixture(params=["filesystem", "simple"])
def host(request, tmp_path):
    return Host(tmp_path / "local", request.param, alone=False)


@pytest.fixture
def files(tmp_path):
    """Return a host whose sessions are files, and which has no cluster."""
    return Host(tmp_path / "local")


def write(host, made, mark, at=KEY):
    return host.local.write(at, adding(made), mark)


def mark_of(host, at=KEY):
    return host.local.find(at).mark


def path_of(host, at=KEY):
    return host.shelf.place / "sessions" / digest_of(at)


# -- how long they live --------------------------------------------------------------------------


@pytest.mark.parametrize("asked", [True, False])
@pytest.mark.parametrize("kind", ["filesystem", "simple"])
def test_a_clock_that_is_set_ahead_ends_no_session(tmp_path, asked, kind, monkeypatch):
    machine = FakeClock()
    for module in (time, cachelib.simple):
        monkeypatch.setattr(module, "time", machine.time)
    clock = FleetClock(machine)
    host = Host(tmp_path / "local", kind, clock=clock, alone=False)
    if asked:
        clock.correct([0.0])
    write(host, record(1, a=b"1"), SyncState.OUTAGE)

    machine.now += 400 * 86_400
    host.local.trim()

    assert values(host.local.find(KEY)) == {"a": b"1"}
    assert host.local.all_keys() == [KEY]


def test_a_session_is_over_and_removed_when_its_time_is(files):
    save(files.local, adding(record(1, expires_at=files.clock.now + 60.0)))

    files.clock.advance(59.0)
    files.local.trim()
    assert load(files.local).outcome is Outcome.FOUND
    files.clock.advance(4.0)

    assert load(files.local).outcome is Outcome.MISSING
    files.local.trim()
    assert not path_of(files).exists()


# -- marks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", list(SyncState))
@pytest.mark.parametrize("then", list(SyncState))
def test_the_higher_mark_stays(host, first, then):
    write(host, record(1, a=b"1"), first)
    write(host, record(2, b=b"2"), then)

    assert mark_of(host) is max(first, then)
    assert host.local.dirty_keys() == ([KEY] if max(first, then) else [])


def test_a_write_that_changes_nothing_may_still_raise_the_mark(host):
    write(host, record(1, a=b"1"), SyncState.SYNCED)

    write(host, record(1, a=b"1"), SyncState.OUTAGE)

    assert mark_of(host) is SyncState.OUTAGE


def test_without_a_cluster_nothing_is_dirty(files):
    save(files.local, adding(record(1)))

    assert files.local.dirty_keys() == []
    assert load(files.local, key(1)).outcome is Outcome.MISSING


def test_beside_a_cluster_what_is_not_here_may_be_there(host):
    assert load(host.local).outcome is Outcome.UNKNOWN
    assert not load(host.local).certain


def test_a_mark_from_a_newer_version_counts_as_the_highest(host):
    sealed = ENVELOPE.seal(record(1, a=b"1"), KEY)

    host.put(b"\xff" + bytes(8) + sealed)

    assert mark_of(host) is SyncState.OUTAGE


# -- what the cluster confirms -------------------------------------------------------------------


def test_a_record_that_the_cluster_holds_is_kept_as_a_mirror(host):
    host.local.confirm(KEY, record(1, a=b"1"))

    entry = host.local.find(KEY)
    assert (values(entry), entry.mark) == ({"a": b"1"}, SyncState.SYNCED)
    assert entry.checked_at == host.clock.time()


def test_a_session_confirmed_whole_is_not_unsynced_any_more(host):
    write(host, record(1, a=b"1"), SyncState.OUTAGE)

    host.local.confirm(KEY, record(1, a=b"1"))

    assert mark_of(host) is SyncState.SYNCED
    assert host.local.dirty_keys() == []


def test_a_change_made_since_stays_dirty(host):
    write(host, record(1, a=b"1"), SyncState.PENDING)
    sent = host.local.find(KEY).record
    write(host, record(2, b=b"2"), SyncState.PENDING)

    host.local.confirm(KEY, sent)

    assert values(host.local.find(KEY)) == {"a": b"1", "b": b"2"}
    assert mark_of(host) is SyncState.PENDING
    assert host.local.dirty_keys() == [KEY]


def test_entries_that_only_the_cluster_has_are_joined_and_the_rest_stays_unsynced(host):
    write(host, record(5, a=b"5"), SyncState.OUTAGE)

    host.local.confirm(KEY, record(3, b=b"3"))

    assert values(host.local.find(KEY)) == {"a": b"5", "b": b"3"}
    assert mark_of(host) is SyncState.OUTAGE


@pytest.mark.parametrize("theirs", [record(3, b=b"3"), record(0)], ids=["less", "other"])
def test_a_mirror_that_knows_more_than_the_cluster_is_to_be_handed_over(host, theirs):
    """The cluster had it, and does not any more: both of its copies were damaged."""
    host.local.confirm(KEY, record(5, a=b"5"))
    host.clock.advance(1.0)

    host.local.confirm(KEY, theirs)

    entry = host.local.find(KEY)
    assert values(entry) == {"a": b"5"} | values(Entry(theirs, SyncState.PENDING, 0.0))
    assert entry.mark is SyncState.PENDING
    assert host.local.dirty_keys() == [KEY]


def test_a_mirror_never_brings_an_ended_session_back(host):
    write(host, tombstone(5), SyncState.OUTAGE)

    host.local.confirm(KEY, record(9, a=b"9"))

    assert host.local.find(KEY).record.kind is tombstone().kind


def test_only_what_was_seen_is_dropped(host):
    write(host, record(1, a=b"1"), SyncState.OUTAGE)
    seen = host.local.find(KEY).record
    write(host, record(2, b=b"2"), SyncState.OUTAGE)

    host.local.drop(KEY, seen)
    assert host.local.find(KEY) is not None

    host.local.drop(KEY, host.local.find(KEY).record)
    assert host.local.find(KEY) is None
    assert host.local.dirty_keys() == []


# -- the journal ---------------------------------------------------------------------------------


def test_a_crash_before_the_session_was_written_leaves_a_mark_that_can_be_removed(host):
    host.shelf.journal.add(digest_of(KEY))

    host.local.forget_mark(KEY)

    assert host.local.dirty_keys() == []


def test_a_crash_after_a_hand_over_leaves_a_mark_that_the_next_one_removes(host):
    host.local.confirm(KEY, record(1, a=b"1"))
    host.shelf.journal.add(digest_of(KEY))

    host.local.confirm(KEY, record(1, a=b"1"))

    assert host.local.dirty_keys() == []


@pytest.mark.parametrize(
    ("act", "left"),
    [
        (lambda host: host.local.confirm(KEY, record(1, a=b"1")), []),
        (lambda host: host.local.forget_mark(KEY), []),
        (lambda host: write(host, record(1, a=b"1"), SyncState.OUTAGE), [KEY]),
    ],
    ids=["replaced by a copy", "given up", "written anew"],
)
def test_a_damaged_session_that_was_nowhere_else_is_counted_and_reported(host, act, left):
    host.put(b"rubbish")
    host.shelf.journal.add(digest_of(KEY))

    act(host)

    assert host.local.dirty_keys() == left
    assert host.local.lost == 1
    assert host.troubles == ["a session that exists nowhere else is damaged"]


def test_a_damaged_copy_of_what_the_cluster_has_is_replaced_without_a_word(host):
    host.put(b"rubbish")

    host.local.confirm(KEY, record(1, a=b"1"))

    assert host.local.lost == 0
    assert host.troubles == []


def test_the_mark_of_a_session_that_is_just_being_written_is_not_removed(host):
    """The mark is set before the session is there: a reader in between finds nothing."""
    found = host.local.find(KEY)
    write(host, record(1, a=b"1"), SyncState.OUTAGE)

    assert found is None
    host.local.forget_mark(KEY)

    assert host.local.dirty_keys() == [KEY]


def test_the_mark_of_a_session_only_others_can_read_stays(host):
    host.put(bytes(9) + FOREIGN.seal(record(1), KEY))
    host.shelf.journal.add(digest_of(KEY))

    host.local.forget_mark(KEY)

    assert host.local.dirty_keys() == [KEY]


def test_other_files_in_the_journal_are_no_sessions(tmp_path):
    host = Host(tmp_path / "local", alone=False)
    for name in ("note.txt", "A" * 40, "0" * 39, "0" * 64):
        (host.shelf.place / "journal" / name).touch()

    assert host.local.dirty_keys() == []


def test_a_journal_that_cannot_be_used_is_no_error(tmp_path):
    host = Host(tmp_path / "local", alone=False)
    journal = host.shelf.place / "journal"
    journal.rmdir()
    journal.touch()

    assert host.local.dirty_keys() == []
    assert write(host, record(1), SyncState.OUTAGE).copies == 0
    assert host.troubles == ["Not a directory"]


def test_every_process_with_a_memory_of_its_own_has_marks_of_its_own(tmp_path):
    """What a worker has in its own memory no other worker can hand over, or find to be gone."""
    one = Host(tmp_path / "local", SimpleCache(), alone=False)
    other = Host(tmp_path / "local", SimpleCache(), alone=False)
    write(one, record(1, a=b"1"), SyncState.OUTAGE)

    for dirty in other.local.dirty_keys():
        other.local.forget_mark(dirty)

    assert one.local.dirty_keys() == [KEY]
    assert one.shelf.kind == "SimpleCache"


# -- what a disk may do --------------------------------------------------------------------------


@pytest.fixture
def full_disk(tmp_path):
    place = tmp_path / "disk"
    place.mkdir(mode=0o700)
    options = f"size=256k,mode=0700,uid={os.getuid()}"
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
    if os.getuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root can mount a small disk")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def fill(place):
    with (place / "filler").open("wb", buffering=0) as filler, pytest.raises(OSError, match="left"):
        while True:
            filler.write(bytes(4096))


def test_a_full_disk_keeps_its_sessions_and_is_reported_once(full_disk, caplog):
    host = Host(full_disk)
    save(host.local, adding(record(1, a=b"1")))
    fill(full_disk)

    for number in range(5):
        assert save(host.local, changing(b=b"2" * 1000), known=None).copies == 0
        assert save(host.local, adding(record(1)), key(1 + number)).copies == 0

    assert values(load(host.local)) == {"a": b"1"}
    assert host.troubles == ["OSError: No space left on device"]
    assert not list((host.shelf.place / "sessions").glob("*wz_cache"))
    assert caplog.records == []

    (full_disk / "filler").unlink()
    assert save(host.local, changing(b=b"2")).copies == 1
    assert host.troubles[1:] == [None]


def test_what_nodes_have_taken_over_goes_from_a_full_disk(full_disk):
    """With its mark it would be handed over for ever; a copy without one is better than none."""
    host = Host(full_disk, alone=False)
    write(host, record(1, a=b"1"), SyncState.OUTAGE)
    write(host, record(1, a=b"1"), SyncState.SYNCED, key(1))
    fill(full_disk)

    assert host.local.confirm(key(1), record(2, a=b"1", b=b"2"))
    assert host.local.confirm(KEY, record(2, a=b"1", b=b"2"))

    assert host.local.dirty_keys() == []
    assert host.local.find(KEY) is None
    assert host.local.find(key(1)).record == record(1, a=b"1")


def test_a_disk_that_is_full_from_the_beginning_costs_no_request(full_disk):
    fill(full_disk)
    host = Host(full_disk)
    assert save(host.local, adding(record(1, a=b"1"))).copies == 0
    assert "No space left" in host.troubles[0]

    (full_disk / "filler").unlink()

    assert save(host.local, adding(record(1, a=b"1"))).copies == 1
    assert values(load(host.local)) == {"a": b"1"}


def test_a_disk_that_is_read_only_costs_no_request(full_disk):
    before = Host(full_disk)
    save(before.local, adding(record(1, a=b"1")))
    for file in before.shelf.locks._files.values():
        os.close(file)
    subprocess.run(["mount", "-o", "remount,ro", str(full_disk)], check=True)
    host = Host(full_disk)

    assert save(host.local, changing(b=b"2")).copies == 0
    host.local.drop(KEY, record(1, a=b"1"))
    host.local.trim()

    assert values(load(host.local)) == {"a": b"1"}
    assert host.troubles == ["OSError: Read-only file system"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS])
def test_a_write_that_fails_half_way_leaves_what_was_there(files, monkeypatch, number):
    save(files.local, adding(record(1, a=b"1")))

    def replace(*_):
        raise OSError(number, "")

    monkeypatch.setattr("os.replace", replace)

    assert save(files.local, changing(b=b"2")).copies == 0
    assert values(load(files.local)) == {"a": b"1"}
    assert len(list((files.shelf.place / "sessions").iterdir())) == 1


def test_a_file_that_cannot_be_read_is_not_missing(files, caplog):
    path_of(files).mkdir()

    assert load(files.local).outcome is Outcome.UNKNOWN
    assert files.local.holders(KEY, 0) == ()
    assert save(files.local, adding(record(1))).copies == 0
    assert len(files.troubles) == 1
    assert caplog.records == []


def test_a_session_is_unknown_to_a_process_without_free_files(files):
    save(files.local, adding(record(1, a=b"1")))
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)

    resource.setrlimit(resource.RLIMIT_NOFILE, (0, allowed[1]))
    try:
        found = load(files.local)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, allowed)

    assert found.outcome is Outcome.UNKNOWN
    assert values(load(files.local)) == {"a": b"1"}


def test_a_cache_of_the_user_that_raises_costs_no_request(tmp_path):
    class Broken:
        def get(self, name):
            raise RuntimeError("out of order")

        set = delete = get

    host = Host(tmp_path / "local", Broken())

    assert load(host.local).outcome is Outcome.UNKNOWN
    assert save(host.local, adding(record(1))).copies == 0
    assert host.local.all_keys() == []
    assert host.troubles == ["the cache raised RuntimeError"]


@pytest.mark.parametrize("answer", [None, 5, "text", [b"bytes"], {}])
def test_an_answer_of_a_cache_object_that_is_not_bytes_is_no_record(tmp_path, answer):
    class Odd(SimpleCache):
        def get(self, name):
            return answer

    assert load(Host(tmp_path / "local", Odd()).local).record is None


# -- what may lie in the folder ------------------------------------------------------------------


def test_foreign_files_are_left_alone_and_are_no_sessions(files):
    save(files.local, adding(record(1, a=b"1")))
    sessions = files.shelf.place / "sessions"
    for name in ("precious.txt", "__wz_cache_count", ".hidden", "f" * 64):
        (sessions / name).write_text("mine")
        age(sessions / name, 1e6)
    (sessions / "folder").mkdir()

    files.local.trim()

    assert files.local.all_keys() == [KEY]
    assert len(list(sessions.iterdir())) == 6


def test_files_that_dead_processes_left_unfinished_are_removed_in_time(files):
    save(files.local, adding(record(1)))
    digest = path_of(files).name
    names = [f"{digest}.1.2", f"{digest}.1.3", "foreign"]
    old, new, foreign = (path_of(files).with_name(f"{name}.__wz_cache") for name in names)
    for path in (old, new, foreign):
        path.write_bytes(b"half")
    for path in (old, foreign):
        age(path, ABANDONED + 1)

    files.local.trim()

    assert not old.exists()
    assert new.exists()
    assert foreign.exists()


@pytest.mark.parametrize("content", [b"", b"\0", b"\0\0\0", b"\xff" * 4, b"\xff" * 500])
def test_rubbish_in_place_of_a_session_is_unknown_and_replaced(files, content, caplog):
    caplog.set_level(logging.DEBUG)
    save(files.local, adding(record(1)))
    path_of(files).write_bytes(content)

    assert load(files.local).outcome is Outcome.UNKNOWN
    assert save(files.local, adding(record(2, b=b"2"))).copies == 1
    assert values(load(files.local)) == {"b": b"2"}
    assert caplog.records == []


def test_nothing_in_the_folder_is_unpickled(files):
    save(files.local, adding(record(1)))
    path_of(files).write_bytes(b"\xff" * 4 + b"cos\nsystem\n(S'touch pwned'\ntR.")

    assert load(files.local).outcome is Outcome.UNKNOWN


# -- notes ---------------------------------------------------------------------------------------


def test_notes_are_for_all_workers_of_the_host_and_are_no_sessions(tmp_path):
    one, other = Host(tmp_path / "local"), Host(tmp_path / "local")

    one.local.put_blob("fleet:x", b"text")

    assert other.local.get_blob("fleet:x") == b"text"
    assert other.local.get_blob("fleet:y") is None
    assert other.local.all_keys() == []
    other.local.trim()
    assert one.local.get_blob("fleet:x") == b"text"


@pytest.mark.parametrize("data", [b"text", b"", b"\xff" * 200])
def test_a_note_that_was_not_written_with_our_keys_is_none(tmp_path, data):
    one, other = Host(tmp_path / "local"), Host(tmp_path / "local")
    with RING.of(keyring(("another secret",))):
        one.local.put_blob("fleet:x", b"text")
    assert other.local.get_blob("fleet:x") is None

    one.local.put_blob("fleet:x", b"text")
    one.shelf.cache.set(f"{PREFIX}fleet:x", data, 60)

    assert other.local.get_blob("fleet:x") is None


def test_a_note_that_cannot_be_kept_is_no_error(files, monkeypatch):
    def fail(*_):
        raise LocalStorageError("full")

    monkeypatch.setattr(files.shelf.cache, "set", fail)
    monkeypatch.setattr(files.shelf.cache, "get", fail)

    files.local.put_blob("fleet:x", b"text")

    assert files.local.get_blob("fleet:x") is None


def test_keys_of_sessions_are_found_again_by_their_prefix(host):
    for number in range(5):
        write(host, record(1), SyncState.OUTAGE, key(number))

    found = host.local.all_keys()

    assert sorted(found) == sorted(map(key, range(5))) == sorted(host.local.dirty_keys())
    assert all(one.startswith(PREFIX) for one in found)


def test_a_note_that_is_larger_than_one_read_is_read_whole(files):
    data = os.urandom(3 * CHUNK)

    files.local.put_blob("large", data)

    assert files.local.get_blob("large") == data
