"""What is marked as nowhere else, as the workers of a host see it without asking the system."""

from __future__ import annotations

import errno
import mmap
import os
import subprocess
import sys

import pytest
from support.storage import KEY, Nearby, age, changing, key

from flask_msm.record.keys import digest_of
from flask_msm.storage.local import journal
from flask_msm.storage.local import locks as key_locks
from flask_msm.storage.local.bell import Bell
from flask_msm.storage.local.folder_stamp import SETTLED
from flask_msm.storage.local.journal import FileJournal
from flask_msm.storage.local.sync_state import SyncState
from flask_msm.storage.store import LocalStorageError


ONE, OTHER = digest_of(key(1)), digest_of(key(2))


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "journal"
    made.mkdir()
    return made


@pytest.fixture
def here(folder):
    return FileJournal(folder)


@pytest.fixture
def there(folder):
    """The journal as another worker has it."""
    return FileJournal(folder)


def test_a_mark_of_another_worker_is_seen_at_once(here, there):
    assert not here.may_contain(ONE)

    there.add(ONE)

    assert here.may_contain(ONE)
    assert not here.may_contain(OTHER)


def test_a_mark_of_another_process_is_seen_at_once(here, folder):
    assert not here.may_contain(ONE)
    program = (
        "import sys; from pathlib import Path;"
        "from flask_msm.storage.local.journal import FileJournal;"
        "FileJournal(Path(sys.argv[1])).add(sys.argv[2])"
    )

    subprocess.run([sys.executable, "-c", program, folder, ONE], check=True)

    assert here.may_contain(ONE)


def test_a_mark_that_was_removed_is_gone_at_once(here, there):
    there.add(ONE)
    assert here.may_contain(ONE)

    there.discard(ONE)

    assert not here.may_contain(ONE)


def test_a_mark_that_is_set_again_is_seen(here, there):
    there.add(ONE)
    there.discard(ONE)
    assert not here.may_contain(ONE)

    there.add(ONE)

    assert here.may_contain(ONE)


def test_a_mark_that_is_set_while_others_are_looked_at_is_seen(here, there, monkeypatch):
    there.add(OTHER)
    usual = os.listdir

    def listed(path):
        names = usual(path)
        monkeypatch.setattr(os, "listdir", usual)
        there.add(ONE)
        return names

    monkeypatch.setattr(os, "listdir", listed)
    assert not here.may_contain(ONE)

    assert here.may_contain(ONE)


def test_as_long_as_no_mark_is_set_the_system_is_not_asked(here, there, monkeypatch):
    there.add(OTHER)
    here.may_contain(ONE)
    for name in ("stat", "listdir", "open"):
        monkeypatch.setattr(os, name, None)

    assert not here.may_contain(ONE)


def test_a_mark_of_an_earlier_version_which_does_not_ring_is_seen_with_the_next_tick(here, folder):
    assert not here.may_contain(ONE)
    (folder / ONE).touch()

    assert here.count() == 1

    assert here.may_contain(ONE)


def test_workers_hear_each_other_again_with_the_next_tick_when_the_bell_was_removed(
    here, there, folder
):
    (folder.parent / "marked").unlink()
    late = FileJournal(folder)
    here.count()
    there.count()

    late.add(ONE)

    assert here.may_contain(ONE)
    assert there.may_contain(ONE)


def test_of_many_marks_a_request_asks_for_one(here, there, monkeypatch):
    monkeypatch.setattr(journal, "MANY", 1)
    for number in range(3, 6):
        there.add(digest_of(key(number)))
    assert not here.may_contain(ONE)
    there.add(ONE)
    monkeypatch.setattr(os, "listdir", None)

    assert here.may_contain(ONE)
    assert not here.may_contain(OTHER)


def unmapped(*_, **__):
    raise OSError(errno.ENODEV, "no maps")


def another(*_, **__):
    """Show what was there before; anything may be written."""
    return bytes(8)


@pytest.mark.parametrize("mapped", [unmapped, another])
def test_where_files_cannot_be_mapped_the_system_is_asked_each_time(
    mapped, folder, there, monkeypatch
):
    monkeypatch.setattr(mmap, "mmap", mapped)
    here = FileJournal(folder)
    assert not here.may_contain(ONE)

    there.add(ONE)

    assert here.may_contain(ONE)
    assert here.digests() == [ONE]


def test_what_cannot_be_rung_is_not_marked_for_sure(here, monkeypatch):
    monkeypatch.setattr(os, "pwrite", lambda *_: unmapped())

    with pytest.raises(LocalStorageError):
        here.add(ONE)


def test_a_bell_that_cannot_be_made_has_no_number(tmp_path):
    assert Bell(tmp_path / "missing" / "bell").number is None


def test_what_waits_on_this_host_may_be_dirty(tmp_path):
    one, other = Nearby(tmp_path / "local"), Nearby(tmp_path / "local")
    assert not one.local.may_be_dirty(KEY)

    other.local.write(KEY, changing(here=b"1"), SyncState.PENDING)

    assert one.local.may_be_dirty(KEY)
    assert not one.local.may_be_dirty(key(1))


# -- how many there are --------------------------------------------------------------------------


@pytest.fixture
def lists(monkeypatch):
    """How often folders were listed."""
    calls = []
    listdir = os.listdir
    monkeypatch.setattr(os, "listdir", lambda path: (calls.append(path), listdir(path))[1])
    return calls


def settle(folder):
    """Let the folder look as if nothing had changed in it for a while."""
    age(folder, 2 * SETTLED)


def marks(journal, count):
    for number in range(count):
        journal.add(digest_of(key(number)))


def test_marks_are_counted_without_a_list_as_long_as_none_comes_or_goes(here, there, folder, lists):
    marks(there, 3)
    settle(folder)
    assert here.count() == 3
    lists.clear()

    assert [here.count() for _ in range(5)] == [3] * 5

    assert lists == []


def test_marks_of_a_folder_that_changed_a_moment_ago_are_listed_again(here, there, folder):
    there.add(ONE)
    assert here.count() == 1
    found = folder.stat()
    there.add(OTHER)
    os.utime(folder, ns=(found.st_atime_ns, found.st_mtime_ns))  # a clock of large steps

    assert here.count() == 2


def test_a_mark_that_came_or_went_is_counted_at_once(here, there, folder):
    marks(there, 3)
    settle(folder)
    here.count()

    there.discard(ONE)
    assert here.count() == 2
    settle(folder)
    here.count()
    there.add(ONE)

    assert here.count() == 3


def test_marks_of_a_worker_that_was_killed_are_counted(here, folder):
    program = (
        "import os, sys; from pathlib import Path;"
        "from flask_msm.storage.local.journal import FileJournal;"
        "FileJournal(Path(sys.argv[1])).add(sys.argv[2]);"
        "os.kill(os.getpid(), 9)"
    )

    subprocess.run([sys.executable, "-c", program, folder, ONE], check=False)

    assert here.count() == 1


def test_many_marks_that_change_all_the_time_are_listed_now_and_then_only(
    here, there, lists, monkeypatch
):
    monkeypatch.setattr(journal, "REST", 1000.0)
    monkeypatch.setattr(journal, "MANY", 2)
    marks(there, 3)
    here.count()
    lists.clear()

    there.discard(ONE)

    assert here.count() == 3
    assert lists == []
    monkeypatch.setattr(journal, "REST", 0.0)
    assert here.count() == 2


def test_that_there_are_no_marks_any_more_is_seen_at_once(here, there, monkeypatch):
    monkeypatch.setattr(journal, "REST", 1000.0)
    monkeypatch.setattr(journal, "MANY", 2)
    marks(there, 3)
    here.count()

    for number in range(3):
        there.discard(digest_of(key(number)))

    assert here.count() == 0


def test_a_mark_that_does_not_ring_is_seen_although_many_are_not_listed_again(
    here, there, folder, monkeypatch
):
    monkeypatch.setattr(journal, "REST", 1000.0)
    monkeypatch.setattr(journal, "MANY", 2)
    marks(there, 3)
    here.count()
    late = digest_of(key(9))
    (folder / late).touch()

    here.count()

    assert here.may_contain(late)


def test_what_was_written_without_its_lock_is_counted_as_kept_here(tmp_path, monkeypatch):
    one, other = Nearby(tmp_path / "local"), Nearby(tmp_path / "local")
    monkeypatch.setattr(key_locks, "PATIENCE", 0.0)
    with other.shelf.locks.hold(KEY):
        one.local.write(KEY, changing(a=b"1"), SyncState.SYNCED)

    assert one.local.dirty_count() == len(one.local.dirty_keys()) == 1
    one.local.write(KEY, changing(a=b"2"), SyncState.PENDING)
    assert one.local.dirty_count() == len(one.local.dirty_keys()) == 1
