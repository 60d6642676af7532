"""The journal of a worker: what is appended, how others read it, what becomes of it."""

from __future__ import annotations

import errno
import os

import pytest
from support.storage import ENVELOPE, FOREIGN, KEY, Host, age, key, record

from flask_msm.record.keys import digest_of
from flask_msm.storage.local import journal_takeover
from flask_msm.storage.local.folder_stamp import SETTLED
from flask_msm.storage.local.journal_frames import HEAD, frame, scan
from flask_msm.storage.local.journal_tails import JournalTails
from flask_msm.storage.local.journal_takeover import Joined, Takeover
from flask_msm.storage.local.worker_journal import WorkerJournal


def sealed(number: int, at: str = KEY) -> bytes:
    return ENVELOPE.seal(record(number, a=b"%d" % number), at)


def framed(number: int, at: str = KEY) -> bytes:
    return frame(digest_of(at), sealed(number, at))


FRAMES = [framed(number, key(number)) for number in range(5)]


def found(data: bytes, *, final: bool = False) -> list[str]:
    return [digest for digest, _ in scan(data, final=final).places]


DIGESTS = [digest_of(key(number)) for number in range(5)]


# -- frames --------------------------------------------------------------------------------------


def test_all_frames_are_found_in_their_order():
    scanned = scan(b"".join(FRAMES), final=True)

    assert [digest for digest, _ in scanned.places] == DIGESTS
    assert scanned.damaged == 0
    data = b"".join(FRAMES)
    for number, (_, place) in enumerate(scanned.places):
        opened = ENVELOPE.open(data[place.at : place.at + place.size], key(number))
        assert opened == record(number, a=b"%d" % number)


@pytest.mark.parametrize("cut", range(1, len(FRAMES[1])))
def test_a_torn_last_frame_is_ignored(cut):
    data = FRAMES[0] + FRAMES[1][:cut]

    scanned = scan(data, final=True)

    assert [digest for digest, _ in scanned.places] == DIGESTS[:1]
    assert scanned.damaged == 0


def test_a_frame_that_is_being_written_is_found_when_it_is_whole():
    scanned = scan(FRAMES[0] + FRAMES[1][:40])

    assert found(FRAMES[0] + FRAMES[1][:40]) == DIGESTS[:1]
    assert scanned.end == len(FRAMES[0])
    assert found((FRAMES[0] + FRAMES[1])[scanned.end :]) == DIGESTS[1:2]


@pytest.mark.parametrize(
    "at", [*range(6), 26, 27], ids=lambda at: f"byte {at}"
)  # its magic, its size, the magic of what is sealed
@pytest.mark.parametrize("bits", [0x01, 0x80, 0xFF])
def test_a_damaged_head_in_the_middle_is_counted_and_the_frames_behind_it_are_found(at, bits):
    bad = bytearray(FRAMES[2])
    bad[at] ^= bits

    scanned = scan(b"".join([*FRAMES[:2], bytes(bad), *FRAMES[3:]]), final=True)

    digests = [digest for digest, _ in scanned.places]
    assert [d for d in digests if d != DIGESTS[2]] == DIGESTS[:2] + DIGESTS[3:]
    assert scanned.damaged > 0


@pytest.mark.parametrize("filler", [b"\0" * 100, b"Mj" * 50, os.urandom(200)])
def test_rubbish_between_frames_is_counted_and_passed_over(filler):
    scanned = scan(FRAMES[0] + filler + FRAMES[1], final=True)

    assert {digest for digest, _ in scanned.places} >= set(DIGESTS[:2])
    assert scanned.damaged > 0


def test_rubbish_only_is_no_frame():
    assert found(b"Mj" * 500, final=True) == found(b"Mj" * 500) == []


# -- appending -----------------------------------------------------------------------------------


@pytest.fixture
def journal(tmp_path):
    made = WorkerJournal(tmp_path)
    yield made
    made.forget()


def files(tmp_path):
    return sorted(path for path in tmp_path.iterdir() if path.suffix == ".changes")


def test_what_is_appended_is_in_one_private_file(tmp_path, journal):
    assert all(journal.append(one) for one in FRAMES)

    (path,) = files(tmp_path)
    assert path.read_bytes() == b"".join(FRAMES)
    assert path.stat().st_mode & 0o777 == 0o600
    assert journal.size == path.stat().st_size


def test_nothing_appended_is_no_file(tmp_path, journal):
    assert journal.turn() == []
    assert list(tmp_path.iterdir()) == []


def test_a_turned_journal_stays_until_it_is_removed(tmp_path, journal):
    journal.append(FRAMES[0])
    turned = journal.turn()
    journal.append(FRAMES[1])
    assert len(files(tmp_path)) == 2

    journal.remove(turned)

    (path,) = files(tmp_path)
    assert path.read_bytes() == FRAMES[1]
    assert journal.size == len(FRAMES[1])


def test_a_journal_that_is_full_takes_nothing_until_some_of_it_went(tmp_path):
    journal = WorkerJournal(tmp_path, most=2 * len(FRAMES[0]))
    assert journal.append(FRAMES[0])
    assert journal.append(FRAMES[1])
    assert not journal.append(FRAMES[2])
    assert journal.failures == 0

    journal.remove(journal.turn())

    assert journal.append(FRAMES[2])
    journal.forget()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_change_that_the_disk_does_not_take_is_reported_and_leaves_no_trace(
    tmp_path, journal, monkeypatch, number
):
    journal.append(FRAMES[0])

    def fail(*_):
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", fail)
        assert not journal.append(FRAMES[1])

    assert journal.append(FRAMES[2])
    assert files(tmp_path)[0].read_bytes() == FRAMES[0] + FRAMES[2]
    assert journal.failures == 1


@pytest.mark.parametrize("truncates", [True, False])
def test_a_change_that_was_written_in_part_is_reported_and_nothing_follows_it(
    tmp_path, journal, monkeypatch, truncates
):
    journal.append(FRAMES[0])
    write = os.write

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda file, data: write(file, data[:30]))
        if not truncates:
            patch.setattr(os, "ftruncate", lambda *_: (_ for _ in ()).throw(OSError(errno.EIO)))
        assert not journal.append(FRAMES[1])

    assert journal.append(FRAMES[2])
    scans = [scan(path.read_bytes(), final=True) for path in files(tmp_path)]
    assert sorted(d for one in scans for d, _ in one.places) == sorted([DIGESTS[0], DIGESTS[2]])
    assert [one.damaged for one in scans] == [0] * len(scans)


def test_a_folder_that_takes_no_file_is_reported(tmp_path):
    journal = WorkerJournal(tmp_path / "missing")

    assert not journal.append(FRAMES[0])
    assert journal.failures == 1


# -- taking over ---------------------------------------------------------------------------------


class Taker:
    """Joins what it takes over into a list."""

    def __init__(self, folder) -> None:
        self.joined: list[str] = []
        self.answer = Joined.DONE
        self.takeover = Takeover(folder, self.join)

    def join(self, digest, data):
        if self.answer is Joined.DONE:
            self.joined.append(digest)
        return self.answer


def test_a_journal_of_a_living_worker_is_left_alone(tmp_path, journal):
    journal.append(FRAMES[0])
    taker = Taker(tmp_path)

    assert taker.takeover.run() == (0, 0, 0, 0)
    assert taker.joined == []
    assert len(files(tmp_path)) == 1


def test_a_journal_of_a_dead_worker_is_taken_over_once(tmp_path, journal):
    for one in FRAMES[:3]:
        journal.append(one)
    journal.forget()  # as if it had died
    one, other = Taker(tmp_path), Taker(tmp_path)

    assert one.takeover.run() == (1, 3, 0, 0)
    assert other.takeover.run() == (0, 0, 0, 0)

    assert one.joined == DIGESTS[:3]
    assert files(tmp_path) == []


def test_one_that_waited_for_the_lock_finds_nothing_to_take_over(tmp_path, journal, monkeypatch):
    journal.append(FRAMES[0])
    journal.forget()
    one, other = Taker(tmp_path), Taker(tmp_path)
    opened = os.open

    def open_late(path, *arguments, **options):
        file = opened(path, *arguments, **options)
        monkeypatch.setattr(os, "open", opened)
        one.takeover.run()
        return file

    monkeypatch.setattr(os, "open", open_late)
    assert other.takeover.run() == (0, 0, 0, 0)

    assert one.joined == DIGESTS[:1]
    assert other.joined == []


def test_a_journal_stays_when_local_storage_takes_nothing(tmp_path, journal):
    journal.append(FRAMES[0])
    journal.forget()
    taker = Taker(tmp_path)
    taker.answer = Joined.FAILED
    taker.takeover.run()
    assert len(files(tmp_path)) == 1

    taker.answer = Joined.DONE

    assert taker.takeover.run() == (1, 1, 0, 0)


def test_what_only_others_can_read_stays_for_them_for_a_day(tmp_path, journal):
    journal.append(FRAMES[0])
    journal.forget()
    taker = Taker(tmp_path)
    taker.answer = Joined.FOREIGN
    taker.takeover.run()
    (path,) = files(tmp_path)

    age(path, journal_takeover.FOREIGN + 1)

    assert taker.takeover.run() == (1, 0, 0, 1)
    assert files(tmp_path) == []


def test_a_stopped_worker_keeps_its_journal_while_others_hand_over(tmp_path, journal):
    journal.append(FRAMES[0])
    (path,) = files(tmp_path)
    age(path, journal_takeover.STOPPED + 1)
    taker = Taker(tmp_path)

    assert taker.takeover.run() == (0, 1, 0, 0)
    assert taker.takeover.run() == (0, 0, 0, 0)

    assert taker.joined == DIGESTS[:1]
    assert journal.append(FRAMES[1])
    assert path.read_bytes() == FRAMES[0] + FRAMES[1]


def test_a_file_that_a_worker_died_making_is_removed(tmp_path):
    (tmp_path / "0123456789abcdef.new").write_bytes(b"")

    assert Taker(tmp_path).takeover.run() == (0, 0, 0, 0)
    assert list(tmp_path.iterdir()) == []


# -- in local storage ----------------------------------------------------------------------------


@pytest.fixture
def host(tmp_path):
    return Host(tmp_path / "local", alone=False)


def left(host, *frames: bytes) -> None:
    """Leave *frames* as a worker that died."""
    journal = WorkerJournal(host.shelf.changes)
    for one in frames:
        assert journal.append(one)
    journal.forget()


def test_what_a_journal_has_is_found_before_and_after_it_is_taken_over(host):
    host.local.write(KEY, lambda _: record(1, a=b"1"), 0)
    left(host, framed(7))

    before = host.local.find(KEY)
    host.local.settle()

    assert before.record == host.local.find(KEY).record == record(7, a=b"7")
    assert before.mark == host.local.find(KEY).mark == 1
    assert host.local.dirty_keys() == [KEY]


@pytest.mark.parametrize("at", [HEAD.size + 30, -1])
def test_a_damaged_last_change_leaves_the_one_before_it(host, at):
    bad = bytearray(framed(8))
    bad[at] ^= 1
    left(host, framed(7), bytes(bad), framed(1, key(1)))

    assert host.local.find(KEY).record == record(7, a=b"7")
    host.local.settle()

    assert host.local.find(KEY).record == record(7, a=b"7")
    assert host.local.find(key(1)).record.version == 1
    assert host.reports == [
        ("journal_taken_over", "2 changes of workers that ended or were stopped were taken over"),
        ("journal_damaged", "journals of workers that ended were damaged in 1 places"),
    ]


def test_a_damaged_file_of_a_session_does_not_hide_what_a_journal_has(host):
    host.put(b"rubbish")
    left(host, framed(7))

    assert host.local.find(KEY).record == record(7, a=b"7")
    host.local.write(KEY, lambda seen: seen._replace(version=9), 1)

    assert host.local.find(KEY).record.version == 9


def test_a_change_that_no_worker_could_read_for_a_day_is_reported_as_lost(host):
    data = FOREIGN.seal(record(7, a=b"7"), KEY)
    left(host, frame(digest_of(KEY), data))
    host.local.settle()
    assert host.reports == []
    (path,) = files(host.shelf.changes)
    age(path, journal_takeover.FOREIGN + 1)

    host.local.settle()

    assert host.reports == [
        ("journal_damaged", "1 changes of workers that ended are signed with unknown keys")
    ]


def test_where_no_other_worker_uses_local_storage_there_is_no_journal_to_take_over(tmp_path):
    alone = Host(tmp_path / "local", "simple", alone=False)

    alone.local.settle()

    assert alone.shelf.changes is None
    assert alone.reports == []


def test_a_forked_child_reads_journals_through_files_of_its_own(tmp_path, journal, monkeypatch):
    journal.append(FRAMES[0])
    tails = JournalTails(tmp_path)
    in_parent = tails.find(DIGESTS[0])
    closed = []
    close = os.close
    monkeypatch.setattr(os, "close", lambda file: (closed.append(file), close(file)))
    monkeypatch.setattr(os, "getpid", lambda: 1)

    assert tails.find(DIGESTS[0]) == in_parent == [sealed(0, key(0))]
    assert len(closed) == 1


def test_a_folder_is_listed_for_its_journals_only_after_it_changed(tmp_path, journal, monkeypatch):
    tails = JournalTails(tmp_path)
    age(tmp_path, 2 * SETTLED)
    tails.find(DIGESTS[0])
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", None)
    assert tails.find(DIGESTS[0]) == []
    monkeypatch.setattr(os, "scandir", scandir)

    journal.append(FRAMES[0])
    assert tails.find(DIGESTS[0]) == [sealed(0, key(0))]
    age(tmp_path, 2 * SETTLED)
    tails.find(DIGESTS[0])
    monkeypatch.setattr(os, "scandir", None)
    journal.append(FRAMES[1])

    assert tails.find(DIGESTS[1]) == [sealed(1, key(1))]


def test_a_journal_made_within_a_step_of_the_clock_is_found(tmp_path, journal):
    tails = JournalTails(tmp_path)
    found = tmp_path.stat()
    tails.find(DIGESTS[0])
    journal.append(FRAMES[0])
    os.utime(tmp_path, ns=(found.st_atime_ns, found.st_mtime_ns))

    assert tails.find(DIGESTS[0]) == [sealed(0, key(0))]
