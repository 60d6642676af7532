"""Sticky sessions from memory, with the journal of the worker before the response."""

from __future__ import annotations

import os
from unittest import mock

import pytest
from support.storage import (
    ENVELOPE,
    KEY,
    KEYS,
    MAX_SIZE,
    OTHER_KEYS,
    RING,
    Nearby,
    adding,
    alias,
    changing,
    key,
    load,
    record,
    save,
    sticky_path,
    tombstone,
    values,
)

from flask_msm.record.encryption import encryption_of
from flask_msm.record.keys import EncryptionKeys, keyring
from flask_msm.record.record import PARTIAL, Kind
from flask_msm.storage.local import change_marks
from flask_msm.storage.local.change_marks import ChangeMarks
from flask_msm.storage.local.store import LOCAL
from flask_msm.storage.local.sync_state import SyncState
from flask_msm.storage.local.worker_journal import WorkerJournal
from flask_msm.storage.store import FRESH, Outcome, RecordTooLargeError
from flask_msm.storage.write_behind import TICK


NEAR = 5.0


class Worker(Nearby):
    """A worker of a host, and the path that its requests take."""

    def __init__(self, folder, *, enabled=True, most=1_000_000, **options) -> None:
        super().__init__(folder, near_max_age=NEAR, **options)
        self.path = sticky_path(self, enabled=enabled, most=most)

    def change(self, **changes: bytes):
        """Change the session as a request does that has read it."""
        return save(self.path, changing(**changes), known=load(self.path))

    def die(self) -> None:
        """End without doing anything."""
        if self.path.behind._journal is not None:
            self.path.behind._journal.forget()
        self.shelf.marks.forget()
        self.behind.jobs.clear()

    def files(self):
        """Return the journals of the host."""
        return [path for path in self.shelf.changes.iterdir() if path.suffix == ".changes"]


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "local"


@pytest.fixture
def worker(folder):
    made = Worker(folder)
    save(made.path, adding(record(1, a=b"1")), known=FRESH)
    load(made.path, at_least=1)
    made.behind.run()
    made.mirroring.run()
    made.asked()
    made.path.reads = made.path.other_reads = made.path.writes = made.path.other_writes = 0
    yield made
    made.die()


def beside(worker, folder, **options):
    """Return another worker of the same host."""
    return Worker(folder, nodes=worker.nodes, clock=worker.clock, **options)


# -- reading -------------------------------------------------------------------------------------


def test_a_session_in_memory_is_read_without_files_and_nodes(worker, monkeypatch):
    monkeypatch.setattr(worker.shelf.cache, "get", pytest.fail)

    assert values(load(worker.path, at_least=1)) == {"a": b"1"}
    assert worker.asked() == 0
    assert (worker.path.reads, worker.path.other_reads) == (1, 0)


def test_first_and_last_changes_and_reads_of_what_is_over_do_not_count_as_left_to_the_store(worker):
    save(worker.path, adding(record(1, a=b"1")), known=FRESH, at=key(1))
    save(worker.path, lambda _: tombstone(9), known=load(worker.path, at_least=1))
    load(worker.path)

    assert (worker.path.other_reads, worker.path.other_writes) == (0, 0)


def test_a_session_in_memory_that_is_older_than_the_browser_has_seen_is_not_enough(worker, folder):
    other = beside(worker, folder)
    version = other.change(b=b"2").record.version

    assert values(load(worker.path, at_least=version)) == {"a": b"1", "b": b"2"}
    assert worker.asked() == 0


def test_a_session_that_another_host_changed_is_read_from_the_nodes(worker):
    version = save(worker.cluster, changing(b=b"2")).record.version

    assert values(load(worker.path, at_least=version)) == {"a": b"1", "b": b"2"}


def test_a_change_of_another_worker_is_read_at_once_also_with_an_older_cookie(worker, folder):
    beside(worker, folder).change(b=b"2")

    assert values(load(worker.path, at_least=1)) == {"a": b"1", "b": b"2"}


def test_changes_of_two_workers_at_once_are_both_read_from_each(worker, folder):
    other = beside(worker, folder)
    known = load(other.path, at_least=1)
    save(worker.path, changing(b=b"2"), known=load(worker.path, at_least=1))

    saved = save(other.path, changing(c=b"3"), known=known)

    assert values(saved) == {"a": b"1", "b": b"2", "c": b"3"}
    assert values(load(worker.path)) == values(load(other.path)) == values(saved)
    assert (worker.path.writes, other.path.writes) == (1, 1)


def test_a_mark_that_is_made_between_a_look_and_a_mark_is_not_missed(worker, folder, monkeypatch):
    other = beside(worker, folder)
    load(other.path)
    load(worker.path)
    note = ChangeMarks.note_own

    def late(marks, at, seen):
        monkeypatch.setattr(ChangeMarks, "note_own", note)
        save(other.path, changing(c=b"3"), known=load(other.path))
        return note(marks, at, seen)

    monkeypatch.setattr(ChangeMarks, "note_own", late)
    save(worker.path, changing(b=b"2"), known=load(worker.path))

    assert (
        values(load(worker.path)) == values(load(other.path)) == {"a": b"1", "b": b"2", "c": b"3"}
    )


def test_a_session_in_memory_goes_unchecked_only_so_long(worker):
    worker.clock.advance(NEAR - 0.1)
    load(worker.path, at_least=1)
    assert worker.asked() == 0

    worker.clock.advance(0.2)
    load(worker.path, at_least=1)
    assert worker.asked() == 1

    load(worker.path, at_least=1)
    assert worker.asked() == 0


def test_a_check_of_another_worker_of_the_host_counts(worker, folder):
    other = beside(worker, folder)
    worker.clock.advance(NEAR + 1)
    load(other.path, at_least=1)
    other.mirroring.run()
    worker.asked()

    load(worker.path, at_least=1)

    assert worker.asked() == 0


def test_a_session_that_expired_is_not_read_from_memory(worker):
    made = worker.path.near.get(KEY)
    worker.path.near.put(
        KEY, made.record._replace(expires_at=worker.clock.time()), made.checked_at, made.seen
    )

    load(worker.path, at_least=1)

    assert worker.path.reads == 0


def test_a_partial_record_is_not_kept_in_memory(worker):
    part = record(2, b=b"2")._replace(created=PARTIAL)
    worker.local.write(key(5), adding(part), SyncState.OUTAGE)

    load(worker.path, key(5))
    load(worker.path, key(5))

    assert worker.path.reads == 0


def test_sessions_in_memory_are_bounded_by_bytes(folder):
    worker = Worker(folder, most=10_000)
    for number in range(50):
        save(worker.path, adding(record(1, a=bytes(500))), key(number), known=FRESH)

    assert worker.path.near.size <= 10_000
    assert 1 < len(worker.path.near) < 10
    assert values(load(worker.path, key(0))) == {"a": bytes(500)}
    worker.die()


# -- ends ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [tombstone(50), alias(50, "there")], ids=["logout", "move"])
def test_the_end_of_a_session_is_at_the_nodes_and_seen_by_all_workers_at_once(worker, folder, end):
    other = beside(worker, folder)
    load(other.path, at_least=1)

    saved = save(other.path, adding(end), known=load(other.path))

    assert saved.copies == 2
    assert load(worker.path, at_least=1).record.kind is end.kind
    assert save(worker.path, changing(b=b"2")).record.kind is end.kind


def test_a_logout_on_another_host_is_obeyed_when_it_is_known(worker):
    worker.ended.add(KEY)

    assert load(worker.path, at_least=1).outcome is Outcome.MISSING


def test_a_logout_that_the_nodes_return_ends_the_session_in_memory(worker):
    save(worker.path, changing(b=b"2"), known=load(worker.path))
    save(worker.cluster, adding(tombstone(50)))

    worker.behind.run()

    assert load(worker.path, at_least=1).record.kind is Kind.DESTROYED


def test_what_is_dropped_after_an_outage_is_not_shown_from_memory(worker):
    assert worker.local.drop(KEY, worker.local.find(KEY).record)
    for node in worker.nodes.values():
        node.items.clear()

    assert load(worker.path, at_least=1).outcome is Outcome.MISSING


# -- writing -------------------------------------------------------------------------------------


def test_a_change_is_in_the_journal_before_the_response_and_at_the_nodes_behind_it(worker):
    saved = worker.change(b=b"2")

    assert saved.holders == {LOCAL}
    assert worker.asked() == 0
    (path,) = worker.files()
    assert ENVELOPE.seal(saved.record, KEY) in path.read_bytes()

    worker.behind.run()

    assert worker.in_cluster() == saved.record
    assert worker.local.find(KEY).record == saved.record
    assert worker.local.find(KEY).mark is SyncState.SYNCED
    assert worker.files() == worker.local.dirty_keys() == []


def test_of_many_changes_the_nodes_get_the_newest_only(worker):
    for number in range(20):
        worker.change(b=b"%d" % number)
    assert len(worker.behind.jobs) == 1

    worker.behind.run()

    assert worker.path.behind.handed_over == 1
    assert worker.in_cluster().attributes.alive() == {"a": b"1", "b": b"19"}


def test_what_other_hosts_changed_is_in_memory_after_the_hand_over(worker):
    save(worker.cluster, changing(c=b"3"))
    worker.change(b=b"2")

    worker.behind.run()
    worker.asked()

    assert values(load(worker.path)) == {"a": b"1", "b": b"2", "c": b"3"}
    assert worker.asked() == 0


def test_a_hand_over_leaves_what_other_workers_have_in_memory_as_it_is(worker, folder):
    other = beside(worker, folder)
    worker.change(b=b"2")
    load(other.path)
    worker.behind.run()
    other.path.reads = 0

    load(other.path)

    assert other.path.reads == 1


def test_a_change_during_the_hand_over_is_handed_over_next(worker, monkeypatch):
    worker.change(b=b"2")
    give = worker.store.give

    def and_change(*arguments, **options):
        monkeypatch.setattr(worker.store, "give", give)
        worker.change(c=b"3")
        return give(*arguments, **options)

    monkeypatch.setattr(worker.store, "give", and_change)
    worker.path.behind.hand_over()
    assert worker.in_cluster().attributes.alive() == {"a": b"1", "b": b"2"}
    assert len(worker.files()) == 1
    assert values(worker.local.find(KEY)) == {"a": b"1", "b": b"2", "c": b"3"}

    worker.path.behind.hand_over()

    assert worker.in_cluster().attributes.alive() == {"a": b"1", "b": b"2", "c": b"3"}
    assert worker.files() == []


def test_what_was_handed_over_stays_here_beside_what_waits_in_another_journal(
    worker, folder, monkeypatch
):
    other = beside(worker, folder)
    load(other.path)
    worker.change(b=b"2")
    with monkeypatch.context() as patch:
        # As if both changed it at the same moment.
        patch.setattr(ChangeMarks, "seen", lambda *_: other.path.near.get(KEY).seen)
        save(other.path, changing(c=b"3"))

    worker.behind.run()

    assert len(worker.files()) == 1
    assert values(worker.local.find(KEY)) == {"a": b"1", "b": b"2", "c": b"3"}


def test_a_new_session_is_at_the_nodes_before_the_response(worker):
    assert save(worker.path, adding(record(1, a=b"1")), key(3), known=FRESH).copies == 2


def test_a_change_that_no_journal_takes_goes_to_files_and_nodes_as_before(worker, monkeypatch):
    monkeypatch.setattr(WorkerJournal, "append", lambda *_: False)

    saved = worker.change(b=b"2")

    assert worker.local.find(KEY).record == saved.record
    worker.behind.run()
    assert worker.in_cluster() == saved.record
    assert worker.path.other_writes == 1


def test_a_change_that_no_disk_takes_is_at_the_nodes_before_the_response(worker, monkeypatch):
    worker.change(b=b"2")

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        known = load(worker.path)
        change = changing(c=b"3")
        saved = save(worker.path, lambda seen: change(adding(known.record)(seen)), known=known)

    assert saved.copies == 2
    assert values(saved) == {"a": b"1", "b": b"2", "c": b"3"}
    assert worker.in_cluster() == saved.record
    assert values(load(worker.path, at_least=saved.record.version)) == values(saved)


def test_a_change_past_the_journal_does_not_hide_what_waits_in_it(worker, monkeypatch):
    worker.change(b=b"2")
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", mock.Mock(side_effect=OSError))
        saved = save(worker.path, changing(c=b"3"))
    assert saved.copies == 2

    loaded = load(worker.path, at_least=saved.record.version)

    assert values(loaded) == {"a": b"1", "b": b"2", "c": b"3"}


def test_a_change_that_cannot_be_marked_for_other_workers_is_still_read_by_them(
    worker, folder, monkeypatch
):
    other = beside(worker, folder)
    load(other.path)
    monkeypatch.setattr(ChangeMarks, "note_own", lambda *_: None)

    version = worker.change(b=b"2").record.version

    assert values(load(other.path, at_least=version)) == {"a": b"1", "b": b"2"}


def test_a_record_that_is_too_large_is_refused_and_changes_nothing(worker):
    with pytest.raises(RecordTooLargeError):
        worker.change(big=bytes(2 * MAX_SIZE))

    assert worker.files() == []
    assert values(load(worker.path, at_least=1)) == {"a": b"1"}


def test_without_a_folder_that_workers_share_changes_are_written_as_before():
    worker = Worker(None)
    save(worker.path, adding(record(1, a=b"1")), known=FRESH)

    saved = worker.change(b=b"2")
    worker.behind.run()

    assert worker.in_cluster() == saved.record
    assert worker.path.writes == 0


# -- faults --------------------------------------------------------------------------------------


def test_the_last_change_of_a_worker_that_died_is_shown_by_the_next(worker, folder):
    version = worker.change(b=b"2").record.version
    worker.die()
    other = beside(worker, folder)

    assert values(load(other.path, at_least=version)) == {"a": b"1", "b": b"2"}
    other.local.settle()
    assert other.files() == []
    assert other.local.dirty_keys() == [KEY]
    assert other.store.hand_over(KEY, 1e9)

    assert other.in_cluster().attributes.alive() == {"a": b"1", "b": b"2"}
    other.die()


def test_a_worker_that_dies_during_the_hand_over_loses_nothing(worker, folder, monkeypatch):
    worker.change(b=b"2")

    def die(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(worker.store, "give", die)
    with pytest.raises(KeyboardInterrupt):
        worker.path.behind.hand_over()
    worker.die()
    other = beside(worker, folder)
    other.local.settle()

    assert other.local.dirty_keys() == [KEY]
    assert values(other.local.find(KEY)) == {"a": b"1", "b": b"2"}


def test_nodes_that_do_not_answer_leave_the_change_marked_here(worker):
    worker.change(b=b"2")
    for node in worker.nodes.values():
        node.fail()

    worker.behind.run()

    assert worker.files() == []
    assert worker.local.dirty_keys() == [KEY]
    assert worker.path.behind.kept == 1


def test_in_an_outage_what_waits_is_read_and_goes_to_local_storage(worker):
    version = worker.change(b=b"2").record.version
    worker.outage()

    loaded = load(worker.path, at_least=version)
    assert values(loaded) == {"a": b"1", "b": b"2"}
    assert worker.behind.rests[-2:] == [TICK, 0.0]
    save(worker.path, changing(c=b"3"), known=loaded)
    worker.behind.run()

    assert worker.files() == []
    assert worker.local.dirty_keys() == [KEY]
    assert values(worker.local.find(KEY)) == {"a": b"1", "b": b"2", "c": b"3"}


def test_what_waits_is_handed_over_at_once_when_a_node_fails(worker):
    worker.change(b=b"2")

    worker.renewed()
    worker.renewed()

    assert worker.behind.rests[-2:] == [TICK, 0.0]
    worker.behind.run()
    worker.renewed()
    assert worker.behind.jobs == []


def test_a_journal_is_encrypted_when_sessions_are(worker, monkeypatch):
    key_of_ours = bytes(range(32))
    encryption = encryption_of(EncryptionKeys(key_of_ours, (key_of_ours,)))
    monkeypatch.setattr(ENVELOPE, "_encryption", encryption)
    worker.change(b=b"a secret of anna")

    assert b"anna" not in worker.files()[0].read_bytes()
    worker.die()
    worker.local.settle()
    assert values(worker.local.find(KEY))["b"] == b"a secret of anna"


def test_what_neither_nodes_nor_files_take_stays_in_the_journal(worker, monkeypatch):
    worker.change(b=b"2")
    for node in worker.nodes.values():
        node.fail()
    with monkeypatch.context() as patch:
        patch.setattr(worker.shelf.cache._files, "set", mock.Mock(side_effect=OSError))
        assert not worker.path.behind.hand_over()
    assert len(worker.files()) == 1

    assert worker.path.behind.hand_over()

    assert worker.files() == []
    assert worker.local.dirty_keys() == [KEY]


def test_a_worker_that_leaves_during_a_hand_over_that_hangs_leaves_no_journal(worker, monkeypatch):
    worker.change(b=b"2")
    give = worker.store.give

    def leave(*arguments, **options):
        monkeypatch.setattr(worker.store, "give", give)
        worker.change(c=b"3")
        worker.path.behind.close()
        assert worker.files() == []
        raise KeyboardInterrupt

    monkeypatch.setattr(worker.store, "give", leave)
    monkeypatch.setattr(worker.behind, "close", lambda _: None)
    with pytest.raises(KeyboardInterrupt):
        worker.path.behind.hand_over()

    assert values(worker.local.find(KEY)) == {"a": b"1", "b": b"2", "c": b"3"}
    assert worker.local.dirty_keys() == [KEY]


def test_a_hand_over_that_fails_in_the_middle_goes_on_next_time(worker, monkeypatch):
    worker.change(b=b"2")
    with monkeypatch.context() as patch:
        patch.setattr(worker.store, "give", mock.Mock(side_effect=ZeroDivisionError))
        with pytest.raises(ZeroDivisionError):
            worker.path.behind.hand_over()
    assert len(worker.files()) == 1

    worker.path.behind.hand_over()

    assert worker.files() == []
    assert worker.in_cluster().attributes.alive() == {"a": b"1", "b": b"2"}


@pytest.mark.parametrize("has_thread", [True, False])
def test_a_worker_that_leaves_leaves_no_journal(worker, has_thread):
    worker.change(b=b"2")
    for node in worker.nodes.values():
        node.fail()
    if not has_thread:
        worker.behind.jobs.clear()

    worker.path.behind.close()

    assert worker.files() == []
    assert values(worker.local.find(KEY)) == {"a": b"1", "b": b"2"}


def test_a_worker_without_the_path_reads_journals_and_takes_them_over(worker, folder):
    version = worker.change(b=b"2").record.version
    other = beside(worker, folder, enabled=False)
    assert values(load(other.path, at_least=version)) == {"a": b"1", "b": b"2"}

    worker.die()
    other.local.settle()

    assert (other.files(), other.local.dirty_keys()) == ([], [KEY])
    assert other.path.near.size == 0


def test_a_change_of_a_worker_without_the_path_is_read_by_one_with_it(worker, folder):
    beside(worker, folder, enabled=False).change(b=b"2")

    assert values(load(worker.path, at_least=1)) == {"a": b"1", "b": b"2"}


def test_a_journal_is_read_after_the_key_was_rotated(worker, folder):
    worker.change(b=b"2")
    worker.die()

    with RING.of(keyring(("new", "secret"))):
        other = beside(worker, folder)
        other.local.settle()
        assert values(other.local.find(KEY)) == {"a": b"1", "b": b"2"}


def test_a_journal_of_unknown_keys_is_left_for_those_that_have_them(worker, folder):
    worker.change(b=b"2")
    worker.die()
    other = beside(worker, folder)
    other.shelves.open()

    with RING.of(OTHER_KEYS):
        other.local.settle()
    assert len(other.files()) == 1

    with RING.of(KEYS):
        other.local.settle()
    assert (other.files(), other.local.dirty_keys()) == ([], [KEY])


def test_a_forked_child_has_a_journal_of_its_own(worker):
    worker.change(b=b"2")
    child = os.fork()
    if not child:
        try:
            worker.change(c=b"3")
            os._exit(10 * worker.path.writes + len(worker.files()))
        finally:
            os._exit(99)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 22

    assert values(load(worker.path)) == {"a": b"1", "b": b"2", "c": b"3"}
    worker.local.settle()
    assert len(worker.files()) == 1
    worker.behind.run()
    assert worker.store.hand_over(KEY, 1e9)

    assert worker.files() == []
    assert worker.in_cluster().attributes.alive() == {"a": b"1", "b": b"2", "c": b"3"}


def test_a_worker_for_which_there_is_no_mark_goes_the_usual_way_until_there_is(
    worker, folder, monkeypatch
):
    monkeypatch.setattr(change_marks, "LANES", 2)  # one of them is that of the first worker
    other = beside(worker, folder)
    other.change(b=b"2")
    assert values(load(other.path)) == values(load(worker.path)) == {"a": b"1", "b": b"2"}
    assert (other.path.reads, other.path.writes) == (0, 0)

    worker.die()
    other.local.settle()
    load(other.path)
    other.change(b=b"3")

    assert other.path.writes == 1
    other.die()


def test_files_that_a_cleaner_removed_are_made_anew(worker, folder):
    other = beside(worker, folder)
    load(other.path)
    for path in worker.shelf.changes.iterdir():
        path.unlink()
    worker.local.settle()
    other.local.settle()

    version = worker.change(b=b"2").record.version

    assert values(load(other.path, at_least=1)) == {"a": b"1", "b": b"2"}
    assert values(load(other.path, at_least=version)) == {"a": b"1", "b": b"2"}
