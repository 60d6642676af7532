"""The cluster and this host together: who is asked, who is believed, where changes go."""

from __future__ import annotations

import pytest
from support.storage import (
    ENVELOPE,
    FOREIGN,
    KEY,
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

from flask_msm.cluster.mode import Mode
from flask_msm.record.hybrid_clock import stamp_at
from flask_msm.record.record import PARTIAL, Kind, lagging
from flask_msm.storage.failover import IN_FLIGHT
from flask_msm.storage.local.store import LOCAL
from flask_msm.storage.local.sync_state import SyncState
from flask_msm.storage.store import FRESH, Outcome, RecordTooLargeError, Saved


@pytest.fixture
def worker():
    made = Nearby()
    save(made.store, adding(record(1, a=b"1")), known=FRESH)
    made.mirroring.run()
    made.asked()
    return made


def near(worker, at=KEY):
    return worker.local.find(at)


# -- what ended somewhere ------------------------------------------------------------------------


def with_an_old_copy(**options):
    """Return a worker and its nodes: both homes hold a tombstone, a third one an old copy."""
    worker = Nearby(**options)
    homes = worker.placement.homes(KEY)
    spare = next(node_id for node_id in worker.nodes if node_id not in homes)
    for node_id, held in [*((home, tombstone(2)) for home in homes), (spare, record(1, a=b"1"))]:
        worker.nodes[node_id].start_add(KEY, ENVELOPE.seal(held, KEY), 1000, 0).result()
    for home in homes:
        worker.nodes[home].fail()
    worker.views.untrusted = set(worker.nodes)
    return worker


@pytest.mark.parametrize("near_max_age", [None, 5.0])
def test_an_old_copy_does_not_open_a_session_that_ended_while_its_homes_are_away(near_max_age):
    worker = with_an_old_copy(near_max_age=near_max_age)
    assert load(worker.store).outcome is Outcome.FOUND  # this worker does not know yet

    worker = with_an_old_copy(near_max_age=near_max_age)
    worker.ended.add(KEY)
    found = load(worker.store)
    worker.mirroring.run()

    assert found.outcome is Outcome.MISSING
    assert near(worker) is None


@pytest.mark.parametrize("mode", Mode)
def test_a_local_copy_of_a_session_in_the_shared_list_of_ended_ones_does_not_open_it(mode):
    worker = Nearby(near_max_age=5.0)
    worker.local.confirm(KEY, record(1, a=b"1"))
    worker.outage()
    worker.mode = mode
    assert load(worker.store).outcome is Outcome.FOUND

    worker.ended.add(KEY)

    assert load(worker.store).outcome is Outcome.MISSING


@pytest.mark.parametrize("near_max_age", [None, 5.0])
def test_a_session_that_ended_stays_ended_when_a_trusted_copy_is_alive(near_max_age):
    """The host that took the logout shared it with others, and died before it handed it over."""
    worker = Nearby(near_max_age=near_max_age)
    save(worker.cluster, adding(record(1, a=b"1")), known=FRESH)
    worker.ended.add(KEY)

    found = load(worker.store, at_least=1)
    worker.mirroring.run()

    assert found.outcome is Outcome.MISSING
    assert near(worker) is None


@pytest.mark.parametrize("near_max_age", [None, 5.0])
@pytest.mark.parametrize("mode", Mode)
def test_a_logout_that_no_node_took_is_shared_as_known_to_this_host_alone(near_max_age, mode):
    worker = Nearby(near_max_age=near_max_age)
    save(worker.store, adding(record(1)), known=FRESH)
    worker.outage()
    worker.mode = mode

    save(worker.store, adding(tombstone(5)))

    assert worker.told == [(KEY, None, True)]


def test_a_session_that_ended_is_not_unknown_when_no_node_answers():
    worker = Nearby()
    for node in worker.nodes.values():
        node.fail()
    assert load(worker.store).outcome is Outcome.UNKNOWN

    worker.ended.add(KEY)

    assert load(worker.store).outcome is Outcome.MISSING


# -- while the cluster answers -------------------------------------------------------------------


def test_a_record_written_or_read_is_mirrored_behind_the_response():
    worker = Nearby()
    save(worker.store, adding(record(1, a=b"1")), known=FRESH)
    assert near(worker) is None

    worker.mirroring.run()

    assert near(worker).record == record(1, a=b"1")
    assert near(worker).mark is SyncState.SYNCED
    reader = Nearby(nodes=worker.nodes)
    load(reader.store, at_least=1)
    reader.mirroring.run()
    assert near(reader).record == record(1, a=b"1")


def test_a_record_that_waits_to_be_mirrored_is_read_when_the_nodes_fail():
    worker = Nearby()
    save(worker.store, adding(record(1, a=b"1")), known=FRESH)
    worker.mirroring.run()
    save(worker.store, changing(b=b"2"))
    worker.outage()

    assert values(load(worker.store)) == {"a": b"1", "b": b"2"}


def test_a_mirrored_record_is_not_mirrored_again(worker):
    load(worker.store, at_least=1)
    load(worker.store, at_least=1)

    assert worker.mirroring.jobs == []


def test_copies_that_are_too_many_to_wait_are_dropped_and_counted(worker, monkeypatch):
    monkeypatch.setattr("flask_msm.storage.mirror.WAITING", 2)

    for number in range(1, 6):
        save(worker.store, adding(record(1)), key(number), known=FRESH)

    assert worker.mirror.dropped == 3
    worker.mirroring.run()
    load(worker.store, key(5), at_least=1)
    assert len(worker.mirroring.jobs) == 1


def test_a_record_that_is_too_large_stays_what_it_was_everywhere(worker):
    with pytest.raises(RecordTooLargeError):
        save(worker.store, changing(big=bytes(2 * MAX_SIZE)))

    assert values(load(worker.store)) == values(near(worker)) == {"a": b"1"}


def small_nodes(worker):
    """Let all nodes come back with a small item size, as one started with another ``-I``."""
    for node in worker.nodes.values():
        node.item_size_max = 2_512


@pytest.mark.parametrize("near_max_age", [None, 5.0])
def test_a_stored_record_too_large_for_smaller_nodes_may_change_and_not_grow(near_max_age):
    worker = Nearby(near_max_age=near_max_age)
    save(worker.store, adding(record(1, big=bytes(3000), a=b"1")), known=FRESH)
    small_nodes(worker)

    saved = save(worker.store, changing(a=b"2"), known=load(worker.store))

    assert saved.holders == {LOCAL}
    assert near(worker).mark is SyncState.PENDING
    assert values(load(worker.store, at_least=saved.record.version))["a"] == b"2"
    with pytest.raises(RecordTooLargeError) as caught:
        save(worker.store, changing(a=bytes(500)), known=load(worker.store))
    assert caught.value.limit == 2_000


@pytest.mark.parametrize("near_max_age", [None, 5.0])
def test_a_record_that_grows_too_large_for_the_nodes_is_refused(near_max_age):
    worker = Nearby(near_max_age=near_max_age)
    save(worker.store, adding(record(1, a=b"1")), known=FRESH)
    small_nodes(worker)

    with pytest.raises(RecordTooLargeError):
        save(worker.store, changing(big=bytes(3000)), known=load(worker.store))
    assert values(load(worker.store)) == {"a": b"1"}


# -- no node takes a change, and this worker has not noticed yet ---------------------------------


def test_a_change_that_no_node_takes_is_kept_here_and_is_unsynced(worker):
    for node in worker.nodes.values():
        node.fail()

    saved = save(worker.store, changing(b=b"2"))

    assert saved.holders == {LOCAL}
    assert near(worker).mark is SyncState.PENDING
    assert worker.local.dirty_keys() == [KEY]
    assert worker.store.saved_locally == 1
    assert values(load(worker.store, at_least=saved.record.version)) == {"a": b"1", "b": b"2"}


def test_changes_on_both_sides_of_an_outage_are_all_there(worker):
    worker.outage()
    save(worker.store, changing(b=b"1"))
    version = save(worker.store, changing(b=b"2")).record.version
    worker.back()
    save(worker.cluster, changing(c=b"3"))

    assert values(load(worker.store, at_least=version)) == {"a": b"1", "b": b"2", "c": b"3"}


def test_a_logout_here_wins_over_a_cluster_with_old_data(worker):
    worker.outage()
    version = save(worker.store, adding(tombstone(5))).record.version
    worker.back(trusted=False)

    assert load(worker.store, at_least=version).record.kind is Kind.DESTROYED


def test_a_change_here_is_seen_also_when_another_host_made_a_newer_one(worker):
    worker.outage()
    save(worker.store, changing(b=b"2"))
    worker.back()
    save(worker.cluster, changing(c=b"1"))
    version = save(worker.cluster, changing(c=b"3")).record.version

    assert values(load(worker.store, at_least=version)) == {"a": b"1", "b": b"2", "c": b"3"}


def test_a_logout_in_the_cluster_wins_over_what_is_here(worker):
    worker.outage()
    version = save(worker.store, changing(b=b"2")).record.version
    worker.back()
    save(worker.cluster, adding(tombstone(2)))

    assert load(worker.store, at_least=version).record.kind is Kind.DESTROYED


def test_a_worker_that_is_still_local_sees_what_another_one_wrote_to_the_cluster(tmp_path):
    """Nodes are back, and one worker of the host is the first to know."""
    first = Nearby(tmp_path / "local")
    late = Nearby(tmp_path / "local", nodes=first.nodes)
    late.mode, first.returning = Mode.LOCAL, True

    version = save(first.store, adding(record(1, a=b"1")), known=FRESH).record.version

    assert values(load(late.store, at_least=version)) == {"a": b"1"}
    assert first.local.dirty_keys() == []


# -- the cluster reports it as missing -----------------------------------------------------------


def test_nodes_that_remember_are_believed_over_a_mirror(worker):
    for node in worker.nodes.values():
        node.items.clear()

    assert load(worker.store, at_least=1).outcome is Outcome.MISSING


def test_nodes_that_lost_their_memory_are_not_believed_where_this_host_has_nothing_either():
    worker = Nearby()
    assert load(worker.store).outcome is Outcome.MISSING

    worker.remembers = False

    assert load(worker.store).outcome is Outcome.UNKNOWN


def test_nodes_that_lost_their_memory_are_not_believed_over_a_mirror(worker):
    worker.back(empty=True)
    worker.remembers = False

    loaded = load(worker.store, at_least=1)

    assert values(loaded) == {"a": b"1"}
    assert not loaded.certain


@pytest.mark.parametrize("mark", [SyncState.PENDING, SyncState.OUTAGE])
def test_a_record_that_was_never_confirmed_is_not_missing_when_nodes_lack_it(mark):
    worker = Nearby()
    worker.local.write(KEY, adding(record(1, a=b"1")), mark)

    assert values(load(worker.store, at_least=1)) == {"a": b"1"}


def test_a_record_found_here_alone_is_written_to_the_cluster_with_the_next_change(worker):
    worker.back(empty=True, trusted=False)

    save(worker.store, adding(record(11, b=b"2")), known=load(worker.store, at_least=1))

    # As a request does it, which puts its change on top of what it loaded.
    loaded = load(worker.store, at_least=11)
    assert values(loaded)["b"] == b"2"


def part(version, **values):
    """Return what a host writes that does not see the rest of the session."""
    return record(version, **values)._replace(created=PARTIAL)


def damage(worker):
    """Overwrite all copies in the cluster."""
    for home in worker.placement.homes(KEY):
        worker.nodes[home].put(KEY, b"rubbish")


def test_entries_only_this_host_has_are_shown_and_handed_over_after_another_host_wrote(worker):
    damage(worker)
    other = Nearby(nodes=worker.nodes)
    seen = load(other.store, at_least=1)
    assert seen.outcome is Outcome.UNKNOWN
    save(other.store, adding(part(5, b=b"2")), known=seen)

    shown = load(worker.store, at_least=5)
    assert values(shown) == {"a": b"1", "b": b"2"}
    assert shown.record.created != PARTIAL
    worker.mirroring.run()
    assert worker.local.dirty_keys() == [KEY]
    assert worker.store.hand_over(KEY, 1e9)

    assert values(load(other.store, at_least=5)) == {"a": b"1", "b": b"2"}
    assert worker.local.dirty_keys() == []


def test_a_part_that_nodes_hold_is_not_marked_as_nowhere_else(worker):
    damage(worker)
    save(worker.store, adding(part(5, b=b"2")), known=load(worker.cluster))
    other = Nearby(nodes=worker.nodes)

    found = load(other.store, at_least=5)

    assert found.record.created == PARTIAL
    assert not found.nowhere_else


@pytest.mark.parametrize("remembers", [True, False])
def test_a_part_on_this_host_is_nowhere_else_if_homes_that_remember_have_nothing(remembers):
    worker = Nearby()
    worker.local.write(KEY, adding(part(5, b=b"2")), SyncState.OUTAGE)
    worker.remembers = remembers

    found = load(worker.store, at_least=5)

    assert values(found) == {"b": b"2"}
    assert found.nowhere_else is remembers


def test_no_record_is_marked_as_nowhere_else_while_other_hosts_hand_over():
    worker = Nearby()
    worker.local.write(KEY, adding(part(5, b=b"2")), SyncState.OUTAGE)
    worker.returning = True

    assert not load(worker.store, at_least=9).nowhere_else


def test_latest_changes_that_are_missing_when_every_host_has_handed_over_are_nowhere_else():
    worker = Nearby()
    save(worker.cluster, adding(lagging(record(5, a=b"1"))), known=FRESH)

    worker.returning = True
    assert not load(worker.store, at_least=5).nowhere_else
    worker.returning = False
    assert load(worker.store, at_least=5).nowhere_else


@pytest.mark.parametrize("drops", [True, False])
def test_the_rest_of_a_part_may_be_on_a_host_that_is_away_unless_that_will_drop_it(drops):
    worker = Nearby()
    worker.drops = drops
    save(worker.cluster, adding(part(5, b=b"2")), known=FRESH)

    assert load(worker.store, at_least=5).nowhere_else is drops


def test_a_session_is_unknown_when_no_node_and_no_local_copy_can_be_read(worker):
    worker.back(empty=True, trusted=False)
    worker.put(b"rubbish")
    assert load(worker.store, at_least=1).outcome is Outcome.UNKNOWN

    worker.put(bytes(9) + FOREIGN.seal(record(1), KEY))
    assert load(worker.store, at_least=1).outcome is Outcome.UNKNOWN


def test_a_change_that_others_keep_from_nodes_until_the_deadline_is_kept_here(worker):
    """Others write the session between each look at it and the write that follows."""
    rounds = []

    def meanwhile():
        rounds.append(worker.clock.monotonic())
        worker.clock.advance(0.3)
        for home in worker.placement.homes(KEY):
            others = record(100 + len(rounds), other=b"%d" % len(rounds))
            worker.nodes[home].put(KEY, ENVELOPE.seal(others, KEY))
            worker.nodes[home].before["cas"] = meanwhile

    for node in worker.nodes.values():
        node.before["cas"] = meanwhile
    until = worker.clock.monotonic() + 1.0

    saved = worker.store.save(KEY, changing(b=b"2"), known=None, deadline=until)

    assert worker.clock.monotonic() < until + 1.0
    assert saved.holders == {LOCAL}
    assert near(worker).mark is SyncState.PENDING
    assert worker.local.dirty_keys() == [KEY]
    assert (worker.store.late, worker.store.saved_locally) == (1, 1)
    for node in worker.nodes.values():
        node.before.clear()
    assert worker.store.hand_over(KEY, 1e9)
    assert worker.in_cluster().attributes.alive()["b"] == b"2"


# -- no node can be reached ----------------------------------------------------------------------


def test_without_nodes_sessions_are_read_and_written_here(worker):
    worker.outage()

    saved = save(worker.store, changing(b=b"2"), known=load(worker.store, at_least=1))

    assert saved.holders == {LOCAL}
    assert near(worker).mark is SyncState.OUTAGE
    assert values(load(worker.store, at_least=saved.record.version)) == {"a": b"1", "b": b"2"}
    assert worker.asked() == 0


def test_without_nodes_what_is_not_here_is_unknown(worker):
    worker.outage()

    assert load(worker.store, key(1)).outcome is Outcome.UNKNOWN
    assert worker.store.holders(KEY, 0) == (LOCAL,)


def test_a_local_storage_that_fails_as_well_acknowledges_nothing(worker, monkeypatch):
    worker.outage()
    monkeypatch.setattr(worker.shelf.cache._cache, "set", lambda *_, **__: False)

    assert save(worker.store, changing(b=b"2")).copies == 0
    assert values(load(worker.store)) == {"a": b"1"}


# -- distribution is stopped ---------------------------------------------------------------------


def test_when_stopped_changes_stay_here(worker):
    worker.mode = Mode.STOPPED

    saved = save(worker.store, changing(b=b"2"))

    assert saved.holders == {LOCAL}
    assert near(worker).mark is SyncState.OUTAGE
    assert values(load(worker.store, at_least=saved.record.version)) == {"a": b"1", "b": b"2"}
    assert worker.asked() == 0


def test_a_session_that_only_the_cluster_has_is_read_when_distribution_is_stopped(worker):
    other = Nearby(nodes=worker.nodes)
    other.mode = Mode.STOPPED

    assert values(load(other.store, at_least=1)) == {"a": b"1"}


def test_when_stopped_a_session_begun_on_another_host_is_unknown_and_never_missing(worker):
    worker.mode = Mode.STOPPED
    save(worker.store, adding(record(5, a=b"1")), key(1), known=FRESH)
    other = Nearby(nodes=worker.nodes)
    other.mode = Mode.STOPPED

    found = load(other.store, key(1), at_least=5)

    assert (found.outcome, found.certain) == (Outcome.UNKNOWN, False)


def test_when_stopped_what_nodes_have_is_no_certain_answer(worker):
    """Another host may have changed it meanwhile: what seems absent may only be elsewhere."""
    other = Nearby(nodes=worker.nodes)
    other.mode = Mode.STOPPED

    found = load(other.store, at_least=5)

    assert values(found) == {"a": b"1"}
    assert not found.certain


def test_when_stopped_a_session_that_ended_before_is_not_there(worker):
    save(worker.cluster, adding(tombstone(5)))
    other = Nearby(nodes=worker.nodes)
    other.mode = Mode.STOPPED

    assert load(other.store, at_least=1).record.kind is Kind.DESTROYED


@pytest.mark.parametrize("drops", [False, True])
def test_after_resume_nodes_say_missing_again_once_other_hosts_had_time_to_hand_over(worker, drops):
    worker.returning, worker.drops = True, drops

    found = load(worker.store, key(1), at_least=5)
    behind = load(worker.store, at_least=5)

    # With MSM_ON_RECONNECT=discard there is nothing to wait for.
    assert found.outcome is (Outcome.MISSING if drops else Outcome.UNKNOWN)
    assert behind.certain is drops
    worker.returning = False
    assert load(worker.store, key(1), at_least=5).outcome is Outcome.MISSING
    assert load(worker.store, at_least=5).certain


def test_after_resume_a_session_that_nodes_show_as_the_browser_knows_it_is_certain(worker):
    worker.returning = True

    assert load(worker.store, at_least=1).certain
    assert worker.asked() == 1


def test_when_stopped_what_is_behind_here_is_joined_with_the_cluster(worker):
    version = save(worker.cluster, changing(b=b"2")).record.version
    worker.mode = Mode.STOPPED

    assert values(load(worker.store, at_least=version)) == {"a": b"1", "b": b"2"}


# -- discard -------------------------------------------------------------------------------------


def test_changes_of_an_outage_that_are_to_be_dropped_are_not_shown_any_more(worker):
    worker.outage()
    version = save(worker.store, changing(b=b"2")).record.version
    worker.drops = True
    assert values(load(worker.store, at_least=version)) == {"a": b"1", "b": b"2"}

    worker.back()

    assert values(load(worker.store, at_least=version)) == {"a": b"1"}
    worker.drops = False
    assert values(load(worker.store, at_least=version)) == {"a": b"1", "b": b"2"}


def test_a_change_that_was_merely_not_confirmed_is_not_dropped(worker):
    worker.drops = True
    for node in worker.nodes.values():
        node.fail()
    version = save(worker.store, changing(b=b"2")).record.version
    worker.back()

    assert values(load(worker.store, at_least=version)) == {"a": b"1", "b": b"2"}


# -- handing over --------------------------------------------------------------------------------


def hand_over(worker, at=KEY, **options):
    return worker.store.hand_over(at, 1e9, **options)


def test_a_record_that_changes_while_it_is_handed_over_stays_unsynced(worker):
    worker.outage()
    save(worker.store, changing(b=b"2"))
    worker.back()
    first = worker.nodes[worker.placement.homes(KEY)[0]]
    first.before["cas"] = lambda: worker.local.write(KEY, changing(c=b"3"), SyncState.PENDING)

    assert hand_over(worker)
    assert worker.local.dirty_keys() == [KEY]
    assert hand_over(worker)

    assert worker.in_cluster().attributes.alive() == {"a": b"1", "b": b"2", "c": b"3"}
    assert worker.local.dirty_keys() == []


def test_a_record_that_no_node_takes_stays_unsynced(worker):
    worker.outage()
    save(worker.store, changing(b=b"2"))

    assert not hand_over(worker)
    assert worker.local.dirty_keys() == [KEY]


def test_a_moved_session_is_handed_over_with_where_it_moved_to(worker):
    worker.outage()
    save(worker.store, adding(alias(5, "there", a=b"1")))
    worker.back()

    assert hand_over(worker)

    assert worker.in_cluster().pointer.key == "there"


NEW = key(1)


def moved_here(worker, at=0.0):
    """Let a session move to another id, of which the nodes take the new one only."""
    save(worker.store, adding(record(4, a=b"1", new=b"1")), NEW, known=FRESH)
    stamp = stamp_at(at) + 5
    worker.local.write(KEY, adding(alias(stamp, NEW, a=b"1")), SyncState.PENDING)
    return stamp


@pytest.mark.parametrize("on", ["the nodes", "another host"])
def test_a_change_written_beside_an_unknown_move_follows_to_the_new_id(worker, on):
    stamp = moved_here(worker)
    late = stamp + stamp_at(IN_FLIGHT) // 2
    other = Nearby(nodes=worker.nodes)
    if on == "the nodes":
        save(worker.cluster, adding(record(late, b=b"2")))
    else:
        other.local.write(KEY, adding(record(late, b=b"2")), SyncState.OUTAGE)

    assert hand_over(worker)
    assert hand_over(other)

    assert values(load(worker.store, NEW)) == {"a": b"1", "new": b"1", "b": b"2"}
    assert worker.in_cluster().kind is Kind.ALIAS
    assert not worker.local.is_dirty(KEY)


def test_a_change_written_under_the_old_id_later_does_not_follow(worker):
    stamp = moved_here(worker)
    save(worker.cluster, adding(record(stamp + stamp_at(IN_FLIGHT) + 1, b=b"2")))

    assert hand_over(worker)

    assert values(load(worker.store, NEW)) == {"a": b"1", "new": b"1"}


def test_a_change_follows_as_often_as_the_session_moves(worker):
    moved_here(worker)
    newest = key(2)
    save(worker.cluster, adding(record(8, a=b"1", new=b"1")), newest, known=FRESH)
    save(worker.cluster, adding(alias(9, newest, a=b"1", new=b"1")), NEW)
    save(worker.cluster, changing(b=b"2"))

    assert hand_over(worker)

    assert values(load(worker.store, newest))["b"] == b"2"


def test_a_change_does_not_follow_to_a_session_that_ended(worker):
    moved_here(worker)
    save(worker.cluster, adding(tombstone(8)), NEW)
    save(worker.cluster, changing(b=b"2"))

    assert hand_over(worker)

    assert worker.in_cluster(NEW).kind is Kind.DESTROYED


def test_a_move_waits_as_long_as_what_was_written_beside_it_cannot_go_along(worker):
    moved_here(worker)
    save(worker.cluster, changing(b=b"2"))
    save_as_ever = worker.cluster.save
    worker.cluster.save = lambda key, *rest, **options: (
        Saved(record(), frozenset()) if key == NEW else save_as_ever(key, *rest, **options)
    )

    assert not hand_over(worker)
    worker.cluster.save = save_as_ever
    assert hand_over(worker)

    assert values(load(worker.store, NEW))["b"] == b"2"


def test_a_mark_of_a_session_that_is_gone_is_removed(worker):
    worker.shelf.journal.add(key(7)[-40:])

    assert hand_over(worker, key(7))
    assert worker.local.dirty_keys() == []
