"""Sticky sessions: the copy of this host first, the cluster behind the response."""

from __future__ import annotations

import pytest
from flask import session
from support.apps import make_app
from support.storage import (
    KEY,
    MAX_SIZE,
    Nearby,
    adding,
    alias,
    changing,
    load,
    record,
    save,
    tombstone,
    values,
)

from flask_msm.record.hybrid_clock import stamp_at
from flask_msm.record.record import PARTIAL, Kind
from flask_msm.storage.failover import HANDED_OVER, PAUSE
from flask_msm.storage.local.store import LOCAL
from flask_msm.storage.local.sync_state import SyncState
from flask_msm.storage.store import FRESH, RecordTooLargeError


NEAR = 5.0


@pytest.fixture
def worker():
    made = Nearby(near_max_age=NEAR)
    save(made.store, adding(record(1, a=b"1")), known=FRESH)
    made.behind.run()
    made.asked()
    return made


def elsewhere(worker):
    """Return a worker of another host of the same cluster."""
    return Nearby(near_max_age=NEAR, nodes=worker.nodes, clock=worker.clock)


def settle(worker):
    worker.behind.run()
    worker.mirroring.run()


def near(worker):
    return worker.local.find(KEY)


# -- reading -------------------------------------------------------------------------------------


def test_a_local_copy_is_read_without_asking_a_node(worker):
    assert values(load(worker.store, at_least=1)) == {"a": b"1"}
    assert worker.asked() == 0


def test_a_near_copy_older_than_the_token_is_not_enough(worker):
    version = save(elsewhere(worker).cluster, changing(b=b"2")).record.version
    worker.asked()

    assert values(load(worker.store, at_least=version)) == {"a": b"1", "b": b"2"}
    assert worker.asked() > 0


def test_a_near_copy_goes_unchecked_only_so_long(worker):
    worker.clock.advance(NEAR - 0.1)
    load(worker.store, at_least=1)
    assert worker.asked() == 0

    worker.clock.advance(0.2)
    load(worker.store, at_least=1)

    assert worker.asked() == 1


def test_a_check_counts_from_when_it_was_made(worker):
    worker.clock.advance(NEAR + 1)
    load(worker.store, at_least=1)
    settle(worker)
    worker.asked()
    worker.clock.advance(NEAR - 1)

    load(worker.store, at_least=1)

    assert worker.asked() == 0


def test_a_copy_from_a_clock_that_is_ahead_is_checked(worker):
    ahead = record(5, b=b"5")._replace(renewed=worker.clock.time() + 100)
    save(worker.local, adding(ahead))
    worker.asked()

    load(worker.store, at_least=1)

    assert worker.asked() > 0


def test_a_change_of_another_host_is_read_at_the_next_check(worker):
    save(elsewhere(worker).cluster, changing(b=b"2"))
    worker.clock.advance(NEAR + 1)

    assert values(load(worker.store, at_least=1)) == {"a": b"1", "b": b"2"}
    settle(worker)

    assert values(near(worker)) == {"a": b"1", "b": b"2"}


def test_a_logout_on_another_host_is_obeyed_at_the_next_check(worker):
    save(elsewhere(worker).store, adding(tombstone(5)))
    worker.clock.advance(NEAR + 1)

    assert load(worker.store, at_least=1).record.kind is Kind.DESTROYED


def test_a_near_copy_that_cannot_be_read_is_no_obstacle(worker):
    worker.put(b"rubbish")

    assert values(load(worker.store, at_least=1)) == {"a": b"1"}
    settle(worker)
    assert values(near(worker)) == {"a": b"1"}


# -- writing -------------------------------------------------------------------------------------


def test_a_change_is_kept_here_before_the_response_and_in_the_cluster_behind_it(worker):
    saved = save(worker.store, changing(b=b"2"), known=load(worker.store, at_least=1))

    assert saved.holders == {LOCAL}
    assert near(worker).mark is SyncState.PENDING
    assert worker.asked() == 0
    assert worker.in_cluster().attributes.alive() == {"a": b"1"}

    worker.behind.run()

    assert worker.in_cluster().attributes.alive() == {"a": b"1", "b": b"2"}
    assert near(worker).mark is SyncState.SYNCED
    assert worker.local.dirty_keys() == []


def test_a_change_left_by_a_dead_worker_is_handed_over_by_another_of_the_host(tmp_path):
    dead = Nearby(tmp_path / "local", near_max_age=NEAR)
    save(dead.store, adding(record(1, a=b"1")))
    dead.behind.jobs.clear()
    alive = Nearby(tmp_path / "local", near_max_age=NEAR, nodes=dead.nodes)

    assert alive.local.dirty_keys() == [KEY]
    assert alive.store.hand_over(KEY, 1e9)

    assert alive.in_cluster().attributes.alive() == {"a": b"1"}


def test_a_new_session_is_in_the_cluster_before_the_response():
    """Another host would hear from trusted nodes that there is no such session."""
    worker = Nearby(near_max_age=NEAR)

    save(worker.store, adding(record(1, a=b"1")), known=FRESH)

    assert values(load(elsewhere(worker).store)) == {"a": b"1"}
    assert worker.behind.jobs == []
    assert near(worker).mark is SyncState.SYNCED


def test_a_partial_record_is_joined_with_the_cluster(worker):
    other = elsewhere(worker)
    other.local.write(KEY, adding(record(2, b=b"2")._replace(created=PARTIAL)), SyncState.OUTAGE)

    assert values(load(other.store, at_least=2)) == {"a": b"1", "b": b"2"}


def test_a_full_queue_means_that_the_request_writes_through(worker):
    worker.behind.limit = 0

    saved = save(worker.store, changing(b=b"2"))

    assert saved.copies == 2
    assert worker.in_cluster().attributes.alive() == {"a": b"1", "b": b"2"}
    assert near(worker).mark is SyncState.SYNCED


def test_a_full_queue_and_no_node_leave_the_change_dirty_here(worker):
    worker.behind.limit = 0
    for node in worker.nodes.values():
        node.fail()

    saved = save(worker.store, changing(b=b"2"))

    assert saved.holders == {LOCAL}
    assert saved.failed
    assert worker.local.dirty_keys() == [KEY]


@pytest.mark.parametrize("end", [tombstone(5), alias(5, "there")], ids=["logout", "move"])
def test_the_end_of_a_session_is_written_through_and_overtaken_by_nothing(worker, end):
    save(worker.store, changing(b=b"2"))

    saved = save(worker.store, adding(end))

    assert saved.copies == 2
    assert worker.in_cluster().kind is end.kind
    worker.behind.run()
    assert worker.in_cluster().kind is near(worker).record.kind is end.kind


def test_a_logout_that_no_node_takes_stays_dirty_and_holds_here(worker):
    for node in worker.nodes.values():
        node.fail()

    assert save(worker.store, adding(tombstone(5))).holders == {LOCAL}
    assert load(worker.store, at_least=1).record.kind is Kind.DESTROYED
    assert worker.local.dirty_keys() == [KEY]


def test_a_change_made_before_it_was_known_of_a_logout_elsewhere_is_undone_by_it(worker):
    loaded = load(worker.store, at_least=1)
    save(elsewhere(worker).store, adding(tombstone(5)))

    save(worker.store, changing(b=b"2"), known=loaded)
    worker.behind.run()

    assert worker.in_cluster().kind is Kind.DESTROYED
    assert near(worker).record.kind is Kind.DESTROYED


def test_a_local_storage_that_fails_leaves_the_cluster(worker, monkeypatch):
    monkeypatch.setattr(worker.shelf.cache._cache, "set", lambda *_, **__: False)

    assert save(worker.store, changing(b=b"2")).copies == 2
    assert worker.in_cluster().attributes.alive() == {"a": b"1", "b": b"2"}


def test_a_record_that_is_too_large_is_refused_before_the_response(worker):
    with pytest.raises(RecordTooLargeError):
        save(worker.store, changing(big=bytes(2 * MAX_SIZE)))

    assert worker.behind.jobs == []
    assert values(near(worker)) == {"a": b"1"}


# -- another host --------------------------------------------------------------------------------


def test_a_browser_that_changes_its_host_sees_what_was_written(worker):
    version = save(worker.store, changing(b=b"2")).record.version
    worker.behind.run()

    assert values(load(elsewhere(worker).store, at_least=version)) == {"a": b"1", "b": b"2"}


def changed_now():
    """Return a worker of which the nodes do not have the last change yet, and its version."""
    worker = Nearby(near_max_age=NEAR)
    save(worker.store, adding(record(stamp_at(worker.clock.now), a=b"1")), known=FRESH)
    worker.behind.run()
    return worker, save(worker.store, changing(b=b"2")).record.version


def test_a_browser_that_changes_its_host_at_once_sees_what_the_first_one_is_handing_over():
    worker, version = changed_now()
    other, rests = elsewhere(worker), []
    other.store._rest = lambda seconds: rests.append(seconds) or worker.behind.run()

    assert values(load(other.store, at_least=version)) == {"a": b"1", "b": b"2"}
    assert rests == [PAUSE]


@pytest.mark.parametrize(("age", "times"), [(0.0, 3), (2 * HANDED_OVER, 0)])
def test_what_no_host_hands_over_is_waited_for_while_it_is_new(age, times):
    worker, version = changed_now()
    other, rests = elsewhere(worker), []
    other.store._rest = rests.append
    worker.clock.advance(age)

    assert values(load(other.store, at_least=version)) == {"a": b"1"}
    assert rests == times * [PAUSE]


def test_a_browser_that_returns_to_its_first_host_sees_what_the_other_one_wrote(worker):
    other = elsewhere(worker)
    known = load(other.store, at_least=1)
    version = save(other.store, adding(changing(b=b"2")(known.record)), known=known).record.version
    other.behind.run()

    assert values(load(worker.store, at_least=version)) == {"a": b"1", "b": b"2"}


def test_a_host_that_is_ahead_of_the_cluster_is_not_forgotten_by_another_one(worker):
    """What waits on one host cannot be seen on the other: what seems absent may be there."""
    version = save(worker.store, changing(b=b"2")).record.version

    loaded = load(elsewhere(worker).store, at_least=version)

    assert values(loaded) == {"a": b"1"}
    assert not loaded.certain


def test_a_change_on_each_host_leaves_both(worker):
    other = elsewhere(worker)
    known = load(other.store, at_least=1)
    save(worker.store, changing(b=b"2"))
    save(other.store, adding(changing(c=b"3")(known.record)), known=known)
    for each in (worker, other):
        each.behind.run()

    assert worker.in_cluster().attributes.alive() == {"a": b"1", "b": b"2", "c": b"3"}


def test_a_default_for_a_value_that_waits_on_another_host_fills_a_gap_only():
    one = make_app(MSM_STICKY=True)
    one.do(lambda: session.update(name="anna"))
    one.state.close()
    other = make_app(MSM_STICKY=True)
    for node_id, node in other.nodes.items():
        node.items = one.nodes[node_id].items
    one.state.store.queue.put = lambda _: True
    one.do(lambda: session.update(cart=["apple"]))

    browser = other.browser(one.cookie())
    other.do(lambda: session.setdefault("cart", []).append("pear"), client=browser)
    other.state.close()
    one.state.store.hand_over(one.key(), 1e9)
    other.clock.advance(100)

    answer = other.ask(lambda: dict(session), client=browser)
    assert answer == {"name": "anna", "cart": ["apple"]}
