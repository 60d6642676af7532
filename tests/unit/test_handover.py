"""The cluster returns: what this host kept goes back to it, in order, or is dropped."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from support.storage import (
    ENVELOPE,
    FOREIGN,
    MAX_SIZE,
    Nearby,
    adding,
    alias,
    changing,
    key,
    load,
    record,
    save,
    tombstone,
    values,
)

from flask_msm.cluster.ended_sessions import Ended
from flask_msm.cluster.events import Events
from flask_msm.cluster.mode import Mode
from flask_msm.maintenance import failback as handover
from flask_msm.maintenance.failback import KEPT, LATE, MOST_FAILURES, QUIET, Failback
from flask_msm.record.keys import DIGEST_LENGTH, digest_of
from flask_msm.record.record import Kind
from flask_msm.storage.local.sync_state import SyncState


class Control:
    """The fleet's view of lost memories."""

    def __init__(self) -> None:
        self.losses: dict[str, int] = {}
        self.rebuilt: set[str] = set()

    def lost(self):
        return dict(self.losses)

    def empty(self):
        return self.losses.keys() - self.rebuilt


class State:
    """Shows the views of a worker as the state of its nodes."""

    def __init__(self, worker) -> None:
        self.worker = worker

    def view(self):
        nodes = self.worker.nodes
        return {node_id: Seen(self.worker.views.rights(node_id)) for node_id in nodes}


class ModeOf:
    """The mode of a worker, as maintenance reads it."""

    def __init__(self, worker) -> None:
        self._worker = worker

    @property
    def mode(self):
        return self._worker.mode


class Seen:
    def __init__(self, rights) -> None:
        self.rights = rights


class Worker(Nearby):
    """A worker that hands over when a test starts it."""

    def __init__(self, folder=None, **options) -> None:
        super().__init__(folder, **options)
        self.control = Control()
        self.events = Events(self.clock)
        membership = SimpleNamespace(
            table=State(self),
            mode=ModeOf(self),
            control=self.control,
            events=self.events,
            conditions=self,
            clock=self.clock,
            timeout=1.0,
        )
        self.failback = Failback(self.store, membership)
        self.said = {}

    def note(self, kind, subject, text):
        """Take note of a condition, as those of the fleet do."""
        self.said[kind] = text

    def forget(self) -> None:
        """Let all nodes come back empty, as the fleet notices it."""
        self.back(empty=True, trusted=False)
        self.remembers = False
        self.control.losses = dict.fromkeys(
            self.nodes, 1 + max(self.control.lost().values() or [0])
        )

    def order(self, *, run=None):
        """Return the storage keys in the order in which the cluster got them."""
        seen = []
        for node in self.nodes.values():
            put = node.put
            node.put = lambda at, data, put=put: (seen.append(at), put(at, data))
        (run or self.failback.run)()
        return list(dict.fromkeys(seen))

    def kinds(self):
        return [event.kind for event in self.events.newest()]


@pytest.fixture
def worker():
    return Worker()


def keep(worker, count, mark=SyncState.OUTAGE, *, begin=0):
    for number in range(begin, begin + count):
        worker.local.write(key(number), adding(record(1, a=b"1")), mark)


def hold(worker, number, **entries):
    """Have the homes of a session hold a record; return them."""
    homes = [worker.nodes[node_id] for node_id in worker.store.nodes.placement.homes(key(number))]
    for node in homes:
        node.put(key(number), ENVELOPE.seal(record(7, **entries), key(number)))
    return homes


def in_cluster(worker, count=100):
    return {number for number in range(count) if worker.in_cluster(key(number))}


# -- promote -------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [Mode.LOCAL, Mode.STOPPED])
def test_nothing_is_handed_over_before_the_cluster_is_back(worker, mode):
    keep(worker, 3)
    worker.mode = mode

    assert not worker.failback.is_due()
    worker.failback.run()

    assert in_cluster(worker) == set()


def test_changes_of_an_outage_go_into_the_cluster(worker):
    keep(worker, 5)

    assert worker.failback.is_due()
    worker.failback.run()

    assert in_cluster(worker) == set(range(5))
    assert not worker.failback.is_due()
    assert worker.kinds() == ["handed_over"]
    assert worker.failback.progress is None


def test_ended_and_moved_sessions_go_first(worker):
    keep(worker, 10)
    for number, end in ((4, tombstone(5)), (7, alias(5, key(8)))):
        worker.local.write(key(number), adding(end), SyncState.OUTAGE)

    order = worker.order()

    assert set(order[:2]) == {key(4), key(7)}
    assert len(order) == 10


def test_changes_go_before_what_the_cluster_forgot(worker):
    keep(worker, 5, SyncState.SYNCED)
    keep(worker, 5, begin=5)
    worker.forget()

    order = worker.order()

    assert set(order[:5]) == {key(number) for number in range(5, 10)}
    assert len(order) == 10


def test_a_node_that_fails_meanwhile_ends_it_and_the_next_tick_goes_on(worker):
    keep(worker, 10)
    for node in worker.nodes.values():
        node.fail()

    worker.failback.run()
    assert len(worker.local.dirty_keys()) == 10
    asked = sum(node.operations.count("gets") for node in worker.nodes.values())
    # And once for all of them together.
    assert asked <= (MOST_FAILURES + 1) * 3

    worker.back()
    worker.failback.run()
    assert in_cluster(worker) == set(range(10))


def test_a_worker_that_dies_half_way_leaves_the_rest_to_the_next(tmp_path, monkeypatch):
    monkeypatch.setattr(handover, "BATCH", 2)

    class Killed(BaseException):
        pass

    def kill():
        raise Killed

    dead = Worker(tmp_path / "local")
    keep(dead, 10)
    hand_over, count = dead.store.hand_over_many, iter(range(100))
    dead.store.hand_over_many = lambda *arguments: (
        hand_over(*arguments) if next(count) < 2 else kill()
    )
    with pytest.raises(Killed):
        dead.failback.run()
    assert len(in_cluster(dead)) == 4

    alive = Worker(tmp_path / "local", nodes=dead.nodes)
    assert alive.failback.is_due()
    alive.failback.run()

    assert in_cluster(alive) == set(range(10))
    assert alive.local.dirty_keys() == []


def test_many_changes_are_handed_over_with_few_commands(worker, monkeypatch):
    keep(worker, 10)
    for number in range(4):
        hold(worker, number, old=b"1")
    asked = []
    for node in worker.nodes.values():
        for name in ("get_many", "add_many", "cas_many"):
            act = getattr(node, name)
            monkeypatch.setattr(
                node,
                name,
                lambda *arguments, act=act, name=name: asked.append(name) or act(*arguments),
            )

    worker.failback.run()

    assert in_cluster(worker) == set(range(10))
    assert asked.count("get_many") <= len(worker.nodes)
    assert worker.local.dirty_keys() == []


def test_a_session_that_is_changed_while_it_is_handed_over_with_others_loses_nothing(worker):
    keep(worker, 10)
    homes = hold(worker, 3, old=b"1")
    homes[0].before["cas"] = lambda: hold(worker, 3, other=b"7")

    worker.failback.run()

    for node in homes:
        held = ENVELOPE.open(node.items[key(3)][0], key(3))
        assert held.attributes.alive() == {"a": b"1", "other": b"7"}
    assert worker.local.dirty_keys() == []


def test_two_workers_of_a_host_do_not_do_it_twice(tmp_path):
    one = Worker(tmp_path / "local")
    other = Worker(tmp_path / "local", nodes=one.nodes)
    keep(one, 5)

    with one.local.alone_at("handover"):
        other.failback.run()
        assert in_cluster(other) == set()

    other.failback.run()
    assert in_cluster(other) == set(range(5))


@pytest.fixture
def many(tmp_path, monkeypatch):
    """Return two workers of a host that has so many changes that they share them."""
    monkeypatch.setattr(handover, "SHARED_ABOVE", 10)
    one = Worker(tmp_path / "local")
    keep(one, 40)
    return one, Worker(tmp_path / "local", nodes=one.nodes)


def test_many_changes_are_shared_by_the_workers_of_a_host(many):
    one, other = many
    digit = key(0)[-DIGEST_LENGTH]
    its = {number for number in range(40) if key(number)[-DIGEST_LENGTH] == digit}

    with one.local.alone_at("handover"), one.local.alone_at(f"handover-{digit}"):
        other.failback.run()
        assert in_cluster(other) == set(range(40)) - its
        assert other.failback.waits()

    # A worker that died in the middle of its range left it so.
    other.failback.run()
    assert in_cluster(other) == set(range(40))
    assert not other.failback.waits()


def test_what_another_worker_handed_over_meanwhile_is_not_handed_over_again(many, monkeypatch):
    one, other = many
    found = other.local.dirty_keys()
    one.failback.run()
    read = []
    monkeypatch.setattr(other.store, "hand_over_many", lambda keys, _: read.append(keys) or [])
    monkeypatch.setattr(other.local, "dirty_keys", lambda: found)

    other.failback.run()

    assert read == []


def test_many_changes_that_nodes_do_not_take_do_not_keep_a_loss_from_being_dealt_with(many):
    one, _ = many
    for node in one.nodes.values():
        node.refuses = {key(number) for number in range(40)}
    keep(one, 10, SyncState.SYNCED, begin=40)
    one.control.losses = {"n1": 7}

    one.failback.run()

    assert len(one.local.dirty_keys()) == 40
    assert one.failback.is_restoring is False
    assert one.failback._forgotten() is None


def test_a_worker_that_is_still_local_goes_on_beside_it(tmp_path):
    back = Worker(tmp_path / "local")
    still_local = Worker(tmp_path / "local", nodes=back.nodes)
    still_local.mode = Mode.LOCAL
    keep(still_local, 3)
    back.failback.run()

    version = save(still_local.store, changing(b=b"2"), key(1)).record.version
    assert values(load(back.store, key(1), at_least=version)) == {"a": b"1", "b": b"2"}
    assert back.failback.is_due()
    back.failback.run()

    assert back.in_cluster(key(1)).attributes.alive() == {"a": b"1", "b": b"2"}


def test_several_hosts_hand_over_the_same_session(tmp_path):
    hosts = [Worker(tmp_path / "one")]
    hosts.append(Worker(tmp_path / "other", nodes=hosts[0].nodes))
    for number, host in enumerate(hosts):
        host.local.write(
            key(), adding(record(number + 2, **{f"h{number}": b"x"})), SyncState.OUTAGE
        )

    for host in hosts:
        host.failback.run()

    assert hosts[0].in_cluster(key()).attributes.alive() == {"h0": b"x", "h1": b"x"}


@pytest.mark.parametrize("first", [0, 1])
def test_a_logout_on_one_host_and_a_mirror_on_another_leave_a_logout(tmp_path, first):
    hosts = [Worker(tmp_path / "one")]
    hosts.append(Worker(tmp_path / "other", nodes=hosts[0].nodes))
    hosts[0].local.write(key(), adding(tombstone(5)), SyncState.SYNCED)
    keep(hosts[1], 1, SyncState.SYNCED)
    for host in hosts:
        host.forget()

    for host in (hosts[first], hosts[1 - first]):
        host.failback.run()

    assert hosts[0].in_cluster(key()).kind is Kind.DESTROYED


def test_nodes_that_return_with_old_data_undo_nothing(worker):
    keep(worker, 3, SyncState.SYNCED)
    for number in range(3):
        save(worker.cluster, adding(record(1, a=b"1")), key(number))
    worker.outage()
    save(worker.store, changing(a=b"2"), key(0))
    save(worker.store, adding(tombstone(5)), key(1))
    worker.back(trusted=False)

    worker.failback.run()

    assert worker.in_cluster(key(0)).attributes.alive() == {"a": b"2"}
    assert worker.in_cluster(key(1)).kind is Kind.DESTROYED
    assert worker.in_cluster(key(2)).attributes.alive() == {"a": b"1"}


# -- what cannot be handed over ------------------------------------------------------------------


def unreadable(worker, count, *, begin=0):
    """Leave sessions in local storage that a worker with another key wrote."""
    for number in range(begin, begin + count):
        at = key(number)
        worker.put(bytes(9) + FOREIGN.seal(record(1, a=b"1"), at), at)
        worker.shelf.journal.add(digest_of(at))


def test_sessions_only_others_can_read_do_not_keep_the_rest_here(worker):
    unreadable(worker, 2 * MOST_FAILURES)
    keep(worker, 5, begin=50)

    worker.failback.run()

    assert in_cluster(worker) == set(range(50, 55))
    assert len(worker.local.dirty_keys()) == 2 * MOST_FAILURES


def test_sessions_only_others_can_read_do_not_keep_nodes_from_being_trusted(worker):
    unreadable(worker, 2 * MOST_FAILURES)
    keep(worker, 5, SyncState.SYNCED, begin=50)
    worker.forget()
    assert worker.failback.is_due()
    assert worker.failback.is_restoring

    worker.failback.run()

    assert in_cluster(worker) == set(range(50, 55))
    assert not worker.failback.is_restoring


def test_sessions_whose_join_is_too_large_stay_here_and_delay_no_others(worker):
    half = bytes(MAX_SIZE * 2 // 3)
    save(worker.cluster, adding(record(1, theirs=half)), key(0))
    worker.local.write(key(0), adding(record(2, ours=half)), SyncState.OUTAGE)
    keep(worker, 5, begin=1)

    for _ in range(3):
        worker.failback.run()

    assert set(range(1, 6)) <= in_cluster(worker)
    assert worker.local.dirty_keys() == [key(0)]
    assert "bytes, allowed are" in worker.said[KEPT]


def test_sessions_that_nodes_refuse_keep_no_others_here(worker):
    keep(worker, 20)
    refused = {key(number) for number in range(5, 5 + 2 * MOST_FAILURES)}
    for node in worker.nodes.values():
        node.refuses = refused

    worker.failback.run()

    assert in_cluster(worker) == set(range(20)) - set(range(5, 5 + 2 * MOST_FAILURES))
    assert set(worker.local.dirty_keys()) == refused
    assert "nodes refuse it" in worker.said[KEPT]


def test_the_condition_is_over_when_nodes_take_again_what_they_refused(worker):
    keep(worker, 1)
    for node in worker.nodes.values():
        node.refuses = {key(0)}
    worker.failback.run()
    for node in worker.nodes.values():
        node.refuses = set()

    worker.failback.run()
    worker.failback.is_due()

    assert in_cluster(worker) == {0}
    assert worker.said[KEPT] is None


def test_a_logout_that_is_handed_over_is_shared_with_its_time(worker):
    worker.local.write(key(0), adding(tombstone(5)), SyncState.OUTAGE)

    worker.failback.run()

    assert worker.told == [(key(0), 5, False)]


@pytest.mark.parametrize("mirrored", [True, False])
@pytest.mark.parametrize("kept", [True, False])
def test_a_logout_that_another_host_alone_knew_of_is_handed_over_by_this_one(
    worker, mirrored, kept
):
    save(worker.cluster, adding(record(1, a=b"1")), key(0))
    if mirrored:
        worker.local.confirm(key(0), record(1, a=b"1"))

    worker.failback.mark_ended([Ended(digest_of(key(0)), 5, kept)])

    assert worker.failback.is_due() is kept
    worker.failback.run()
    ended = worker.in_cluster(key(0)).kind is Kind.DESTROYED
    assert ended is kept
    worker.failback.mark_ended([Ended(digest_of(key(0)), 5, kept)])
    assert not worker.failback.is_due()


def test_changes_that_nodes_did_not_take_in_time_are_reported_until_none_came_for_a_while(worker):
    worker.failback.is_due()
    assert worker.said[LATE] is None

    worker.store.late = 3
    worker.failback.is_due()
    assert "MSM_REQUEST_DEADLINE" in worker.said[LATE]

    worker.clock.advance(QUIET / 2)
    worker.failback.is_due()
    assert worker.said[LATE] is not None
    worker.clock.advance(QUIET / 2)
    worker.failback.is_due()
    assert worker.said[LATE] is None


def test_a_corrupt_session_is_given_up(worker):
    worker.put(b"rubbish", key(0))
    worker.shelf.journal.add(digest_of(key(0)))
    keep(worker, 1, begin=1)

    worker.failback.run()

    assert in_cluster(worker) == {1}
    assert not worker.failback.is_due()


# -- the cluster forgot --------------------------------------------------------------------------


def test_records_that_the_cluster_lost_are_given_back(worker):
    keep(worker, 5, SyncState.SYNCED)
    worker.forget()
    assert worker.failback.is_due()
    assert worker.failback.is_restoring

    worker.failback.run()

    assert in_cluster(worker) == set(range(5))
    assert not worker.failback.is_due()
    assert not worker.failback.is_restoring


def test_a_record_with_a_trusted_home_is_left_to_the_cluster(worker):
    keep(worker, 20, SyncState.SYNCED)
    worker.control.losses = {"n1": 1}
    worker.views.untrusted = {"n1"}
    for number in range(20):
        assert len(worker.placement.homes(key(number))) == 2

    worker.failback.run()

    assert in_cluster(worker) == set()
    assert not worker.failback.is_due()


def test_every_host_gives_back_what_it_has_and_no_worker_does_it_again(tmp_path):
    one = Worker(tmp_path / "local")
    other = Worker(tmp_path / "local", nodes=one.nodes)
    keep(one, 5, SyncState.SYNCED)
    one.forget()
    other.control.losses = one.control.losses
    other.views.untrusted = one.views.untrusted
    one.failback.run()

    assert not other.failback.is_due()
    assert not other.failback.is_restoring
    elsewhere = Worker(tmp_path / "elsewhere", nodes=one.nodes)
    elsewhere.control.losses = one.control.losses
    assert elsewhere.failback.is_due()


def test_a_loss_in_the_middle_of_it_is_another_one(worker):
    keep(worker, 5, SyncState.SYNCED)
    worker.forget()
    worker.nodes["n2"].before["add"] = worker.forget

    worker.failback.run()

    assert worker.failback.is_due()
    worker.failback.run()
    assert in_cluster(worker) == set(range(5))


def test_a_disk_that_takes_no_notes_does_not_keep_nodes_from_being_trusted(worker):
    keep(worker, 5, SyncState.SYNCED)
    worker.forget()
    worker.local.put_blob = lambda *_: None

    worker.failback.run()

    assert not worker.failback.is_due()
    assert not worker.failback.is_restoring


@pytest.mark.parametrize("note", [b"rubbish", b"[]", b"5", b"\xff"])
def test_a_note_that_cannot_be_read_is_ignored(worker, note):
    keep(worker, 1, SyncState.SYNCED)
    worker.forget()
    worker.local.put_blob(handover.HANDLED, note)

    assert worker.failback.is_due()
    worker.failback.run()

    assert not worker.failback.is_due()


def test_a_run_that_takes_too_long_is_continued_where_it_ended(worker, monkeypatch):
    monkeypatch.setattr(handover, "RUN_TIME", 3.5)
    monkeypatch.setattr(handover, "BATCH", 1)
    keep(worker, 10, SyncState.SYNCED)
    worker.forget()
    hand_over = worker.store.hand_over_many

    def slow(*arguments):
        worker.clock.advance(1.0)
        return hand_over(*arguments)

    worker.store.hand_over_many = slow
    for _ in range(3):
        assert worker.failback.is_due()
        worker.failback.run()

    assert in_cluster(worker) == set(range(10))
    assert not worker.failback.is_due()


# -- discard -------------------------------------------------------------------------------------


def test_changes_of_an_outage_may_be_dropped_instead(worker):
    save(worker.cluster, adding(record(1, a=b"1")), key(0))
    worker.mirroring.run()
    keep(worker, 3)
    worker.drops = True

    assert worker.failback.is_due()
    worker.failback.run()

    assert in_cluster(worker) == {0}
    assert worker.local.all_keys() == worker.local.dirty_keys() == []
    assert worker.kinds() == ["dropped"]


def test_a_pending_change_is_handed_over_when_outages_are_discarded(worker):
    keep(worker, 2, SyncState.PENDING)
    keep(worker, 2, begin=2)
    worker.drops = True

    worker.failback.run()

    assert in_cluster(worker) == {0, 1}
    assert not worker.failback.is_due()


def test_logouts_are_handed_over_before_anything_is_dropped(worker, monkeypatch):
    monkeypatch.setattr(handover, "RUN_TIME", 3.5)
    out, *others = sorted(map(key, range(10)), reverse=True)
    save(worker.cluster, adding(record(1, a=b"1")), out)
    for at in others:
        worker.local.write(at, adding(record(1, a=b"1")), SyncState.OUTAGE)
    worker.local.write(out, adding(tombstone(5)), SyncState.OUTAGE)
    worker.drops = True
    drop = worker.local.drop
    seen = []

    def slow(at, *arguments):
        seen.append(worker.in_cluster(out).kind)
        worker.clock.advance(1.0)
        return drop(at, *arguments)

    worker.local.drop = slow
    worker.failback.run()

    assert set(seen) == {Kind.DESTROYED}
    assert worker.local.dirty_keys() != []  # one run is not enough for all drops


def test_nothing_is_dropped_while_logouts_cannot_be_handed_over(worker):
    keep(worker, 3)
    worker.local.write(key(9), adding(tombstone(5)), SyncState.OUTAGE)
    worker.drops = True
    worker.store.hand_over_many = lambda *_: ()
    worker.store.hand_over = lambda *_, **__: False

    worker.failback.run()

    assert len(worker.local.all_keys()) == 4


def test_a_logout_during_the_drops_is_handed_over_by_the_next_run(worker):
    first, second = sorted([key(0), key(1)])
    for at in (first, second):
        worker.local.write(at, adding(record(1, a=b"1")), SyncState.OUTAGE)
    worker.drops = True
    drop = worker.local.drop

    def meanwhile(*arguments):
        gone = drop(*arguments)
        worker.local.write(second, adding(tombstone(5)), SyncState.OUTAGE)
        return gone

    worker.local.drop = meanwhile
    worker.failback.run()
    assert worker.local.find(second).record.kind is Kind.DESTROYED
    assert worker.failback.is_due()
    worker.failback.run()

    assert worker.in_cluster(second).kind is Kind.DESTROYED


def test_a_cluster_that_forgot_begins_as_if_new(worker):
    keep(worker, 5, SyncState.SYNCED)
    keep(worker, 5, begin=5)
    worker.forget()
    worker.drops = True

    assert worker.failback.is_due()
    assert not worker.failback.is_restoring
    worker.failback.run()

    assert in_cluster(worker) == set()
    assert worker.local.all_keys() == []
    assert not worker.failback.is_due()


def test_a_logout_stands_when_one_node_forgot_and_another_has_old_data(worker):
    for number in range(20):
        save(worker.cluster, adding(record(1, a=b"1")), key(number))
        worker.local.write(key(number), adding(tombstone(5)), SyncState.OUTAGE)
    worker.forget()
    for number in range(20):
        worker.nodes["n2"].put(key(number), ENVELOPE.seal(record(1, a=b"1"), key(number)))
    worker.drops = True

    worker.failback.run()

    assert {worker.in_cluster(key(number)).kind for number in range(20)} == {Kind.DESTROYED}


def test_a_cluster_that_forgot_begins_as_if_new_also_when_nothing_was_written_meanwhile(worker):
    keep(worker, 5, SyncState.SYNCED)
    worker.local.confirm(key(9), tombstone(5))
    worker.forget()
    worker.drops = True

    assert worker.failback.is_due()
    worker.failback.run()

    assert worker.local.all_keys() == [key(9)]
    assert worker.in_cluster(key(9)).kind is Kind.DESTROYED
    assert worker.in_cluster(key(0)) is None


def test_a_logout_that_the_list_of_ended_sessions_told_first_is_not_handed_over(worker):
    worker.local.confirm(key(1), record(1, a=b"1"))
    worker.failback.mark_ended([Ended(digest_of(key(1)), 9, False)])

    worker.local.confirm(key(1), tombstone(5))

    assert worker.local.dirty_keys() == []
    assert worker.local.find(key(1)).record.kind is Kind.DESTROYED


def test_where_an_ended_session_moved_to_is_handed_over(worker):
    worker.local.confirm(key(1), alias(1, key(2)))
    worker.failback.mark_ended([Ended(digest_of(key(1)), 9, False)])

    worker.local.confirm(key(1), tombstone(5))

    assert worker.local.dirty_keys() == [key(1)]


def test_nothing_is_dropped_in_an_outage_that_this_worker_has_yet_to_notice(worker):
    keep(worker, 3, SyncState.OUTAGE)
    worker.drops = True
    for node in worker.nodes.values():
        node.hang()

    worker.failback.run()

    assert len(worker.local.dirty_keys()) == 3
    assert len(worker.local.all_keys()) == 3


def test_nothing_is_dropped_because_nodes_hang_while_another_loss_is_dealt_with(worker):
    keep(worker, 20, SyncState.SYNCED)
    keep(worker, 5, SyncState.PENDING, begin=20)
    worker.control.losses = {"n1": 1}
    worker.views.untrusted = set(worker.nodes)
    worker.drops = True

    worker.failback.run()

    assert len(worker.local.all_keys()) == 25
    assert worker.local.dirty_keys() == []


def test_one_node_that_forgot_costs_nothing_that_another_one_is_home_to(worker):
    keep(worker, 20, SyncState.SYNCED)
    keep(worker, 5, SyncState.PENDING, begin=20)
    worker.control.losses = {"n1": 1}
    worker.views.untrusted = {"n1"}
    worker.drops = True

    worker.failback.run()

    assert len(worker.local.all_keys()) == 25
    assert in_cluster(worker) == set(range(20, 25))
    assert not worker.failback.is_due()


def test_a_record_dropped_before_nodes_failed_again_is_mirrored_anew(worker):
    first, second = sorted([key(0), key(1)])
    for at in (first, second):
        save(worker.store, adding(record(1, a=b"1")), at)
    worker.mirroring.run()
    worker.outage()
    for at in (first, second):
        save(worker.store, changing(b=b"2"), at)
    worker.back()
    worker.drops = True
    drop = worker.local.drop

    def drop_and_fail(*arguments):
        gone = drop(*arguments)
        for node in worker.nodes.values():
            node.hang()
        return gone

    worker.local.drop = drop_and_fail
    worker.failback.run()
    assert worker.kinds() == ["dropped"]
    assert worker.local.all_keys() == [second]

    worker.back()
    load(worker.store, first, at_least=1)
    worker.mirroring.run()

    assert values(worker.local.find(first)) == {"a": b"1"}


def test_dropping_that_takes_too_long_is_continued_by_the_next_tick(worker, monkeypatch):
    monkeypatch.setattr(handover, "RUN_TIME", 3.5)
    keep(worker, 10)
    worker.drops = True
    drop = worker.local.drop

    def slow(*arguments):
        worker.clock.advance(1.0)
        return drop(*arguments)

    worker.local.drop = slow
    left = []
    for _ in range(3):
        assert worker.failback.is_due()
        worker.failback.run()
        left.append(len(worker.local.all_keys()))

    assert left == [6, 2, 0]
    assert not worker.failback.is_due()


def test_a_record_that_changes_while_it_is_dropped_is_kept(worker):
    keep(worker, 1)
    worker.drops = True
    find = worker.local.find
    looks = iter([False, True])  # one for what is handed over, one for what is dropped

    def found(*arguments):
        entry = find(*arguments)
        if next(looks, False):
            worker.local.write(key(0), changing(b=b"2"), SyncState.PENDING)
        return entry

    worker.local.find = found

    worker.failback.run()

    assert values(find(key(0))) == {"a": b"1", "b": b"2"}
    assert worker.local.dirty_keys() == [key(0)]


def test_the_choice_counts_when_the_cluster_returns_and_not_before(worker):
    keep(worker, 3)
    worker.drops = True
    worker.outage()
    worker.failback.run()
    worker.drops = False
    worker.back()

    worker.failback.run()

    assert in_cluster(worker) == set(range(3))
