"""A node is the memory that answers, not its name: what workers do when that changes."""

from __future__ import annotations

import pytest
from support.crew import Crew
from support.fake_node import FakeNode

from flask_msm.cluster.beats import BEATS, BEATS_AFTER
from flask_msm.cluster.conditions import ROUNDS
from flask_msm.cluster.node_identity import KEY_SUFFIX, Identities
from flask_msm.cluster.workers import DIFFER_AFTER, GONE_AFTER
from flask_msm.maintenance.strangers import STILL_FOR
from flask_msm.operations.state.attention import attention
from flask_msm.operations.state.verdict import verdict


UNTIL = 1e9


def exchange(crew, first, second):
    """Let the memory of one node answer under the id of the other, and the other way round."""
    one, other = crew.nodes[first], crew.nodes[second]
    one.items, other.items = other.items, one.items


def beats_expire(crew):
    for node in crew.nodes.values():
        for key in [key for key in node.items if BEATS in key]:
            del node.items[key]


def trusted(worker):
    return {node_id for node_id, view in worker.cluster.state.view().items() if view.trusted}


def events(worker, kind):
    return [event for event in worker.state.parts.events.newest() if event.kind == kind]


@pytest.fixture
def crew():
    made = Crew(2, 3)
    for _ in range(3):
        made.tick()
    return made


@pytest.fixture
def one(crew):
    return crew.workers[0]


# -- what a node shows ---------------------------------------------------------------------------


def test_a_node_keeps_the_identity_that_it_was_given_first():
    node = FakeNode("n1")

    first, second = (Identities("msm:").of(node, UNTIL) for _ in range(2))

    assert first == second
    assert len(first) == 32


def test_of_two_workers_that_give_one_at_once_both_read_the_same():
    node = FakeNode("n1")
    theirs = []
    node.start_add, add = (
        lambda *arguments: (theirs.append(Identities("msm:").of(other, UNTIL)), add(*arguments))[1],
        node.start_add,
    )
    other = FakeNode("n1")
    other.items = node.items

    assert Identities("msm:").of(node, UNTIL) == theirs[0]


def test_a_node_that_refuses_it_has_none():
    node = FakeNode("n1")
    node.refuses = {f"msm:{KEY_SUFFIX}"}

    assert Identities("msm:").of(node, UNTIL) is None


def test_a_value_that_is_no_identity_counts_as_none():
    node = FakeNode("n1")
    node.put(f"msm:{KEY_SUFFIX}", b"rubbish")

    assert Identities("msm:").of(node, UNTIL) is None


# -- a first start, and an upgrade ---------------------------------------------------------------


def test_a_first_start_is_all_well_at_once():
    crew = Crew(2, 3)
    for worker in crew.workers:
        worker.cluster.monitor.begin()
        assert trusted(worker) == {"n1", "n2", "n3"}


def test_a_first_start_of_two_workers_at_one_moment_is_all_well():
    crew = Crew(2, 3)
    one, other = crew.workers
    # The other one does its first tick when this one has written one of three nodes.
    start_add = crew.nodes["n2"].start_add

    def add(*arguments):
        crew.nodes["n2"].start_add = start_add
        other.cluster.monitor.begin()
        return start_add(*arguments)

    control = one.cluster.control.shared.key
    crew.nodes["n2"].start_add = lambda key, *rest: (
        add(key, *rest) if key == control else start_add(key, *rest)
    )
    one.cluster.monitor.begin()
    crew.tick()

    assert trusted(one) == trusted(other) == {"n1", "n2", "n3"}


def test_after_an_upgrade_nodes_keep_their_standing_and_their_identity_is_noted(crew, one):
    for node_id, node in crew.nodes.items():
        one.cluster.control.shared.put(f"identity:{node_id}", None)
        for key in [key for key in node.items if key.endswith(KEY_SUFFIX)]:
            del node.items[key]
    crew.workers = [one]

    crew.tick()

    assert trusted(one) == {"n1", "n2", "n3"}
    assert all(one.cluster.control.identity(node_id) for node_id in crew.nodes)


def test_an_upgraded_worker_notices_a_node_that_lost_its_memory_before(crew, one):
    one.cluster.control.shared.put("identity:n2", None)
    crew.nodes["n2"].restart_empty()
    crew.workers = [one]

    crew.tick()

    assert "n2" not in trusted(one)


# -- another memory answers ----------------------------------------------------------------------


def test_two_nodes_that_exchange_addresses_are_not_trusted_and_are_rebuilt(crew, one):
    exchange(crew, "n1", "n2")

    crew.tick()

    assert trusted(one) == {"n3"}
    assert {event.node for event in events(one, "node_lost_memory")} == {"n1", "n2"}
    for _ in range(6):
        crew.tick()
    assert trusted(one) == {"n1", "n2", "n3"}


def test_a_node_that_lost_the_map_alone_has_not_lost_its_memory(crew, one):
    del crew.nodes["n2"].items[one.cluster.control.shared.key]

    crew.tick()

    assert trusted(one) == {"n1", "n2", "n3"}


def test_a_node_that_another_memory_stands_for_is_not_believed_between_two_ticks(crew, one):
    exchange(crew, "n1", "n2")

    assert not one.cluster.reactions.remembers({"n1", "n2"}, UNTIL)
    assert trusted(one) == {"n3"}


def test_an_exchanged_node_is_not_believed_when_another_worker_noticed_first(crew, one):
    exchange(crew, "n1", "n2")
    crew.tick(crew.workers[1])
    assert trusted(one) == {"n1", "n2", "n3"}

    assert not one.cluster.reactions.remembers({"n1", "n2"}, UNTIL)


def test_an_exchanged_node_is_not_believed_in_the_middle_of_the_tick_that_notices(crew, one):
    exchange(crew, "n1", "n2")
    believed = []

    def ask_first():
        if one.name not in believed:
            believed.append(one.name)
            assert not one.cluster.reactions.remembers({"n1", "n2"}, UNTIL)
        return one.name

    one.cluster.conditions.worker = ask_first
    one.cluster.conditions.note("a_kind", "a subject", "Found in the middle of a tick.")
    one.cluster.monitor.tick()

    assert believed


def test_an_identity_read_before_the_tick_does_not_count_afterwards(crew, one):
    exchange(crew, "n1", "n2")
    crew.tick(one)
    assert trusted(one) == {"n3"}

    assert not one.cluster.reactions.remembers({"n1", "n2"}, UNTIL)


def test_a_node_that_cannot_say_whether_it_is_the_same_memory_is_not_believed(crew, one):
    assert one.cluster.reactions.remembers({"n1"}, UNTIL)

    crew.nodes["n1"].hang()

    assert not one.cluster.reactions.remembers({"n1"}, UNTIL)


def test_two_ids_of_one_memory_are_an_error_and_count_as_one_copy(crew, one):
    crew.nodes["n3"].items = crew.nodes["n2"].items

    crew.tick()
    crew.tick()

    view = one.cluster.state.view()["n3"]
    assert not view.rights.written
    assert not view.rights.joined
    (condition,) = one.cluster.conditions.lasting()
    assert (condition.kind, condition.level) == ("one_memory", "error")
    assert "n2 and n3 are one and the same memcached" in condition.text


# -- workers that see different memories ---------------------------------------------------------


def test_workers_that_see_different_memories_under_one_id_trust_no_node(crew, one):
    other = crew.workers[1]
    nodes = dict(crew.nodes)
    # The other worker reaches two nodes the other way round.
    nodes["n1"], nodes["n2"] = crew.nodes["n2"], crew.nodes["n1"]
    for node_id, client in nodes.items():
        other.cluster.nodes[node_id] = client

    for _ in range(DIFFER_AFTER + 6):
        crew.tick()

    for worker in crew.workers:
        assert trusted(worker) == set()
        assert events(worker, "layouts_differ")


def test_a_restart_of_a_node_is_no_difference_between_workers(crew):
    crew.nodes["n2"].restart_empty()

    for _ in range(DIFFER_AFTER + 3):
        crew.tick()

    for worker in crew.workers:
        assert not events(worker, "layouts_differ")
        assert trusted(worker) == {"n1", "n2", "n3"}


def test_sessions_are_looked_for_everywhere_only_for_a_node_of_this_list(crew):
    for node_id, everywhere in (("n9", False), ("n2", True)):
        stamp = crew.workers[0].cluster.control.shared.put(f"lost:{node_id}", b"{}")
        crew.workers[0].cluster.control.shared.put(f"missed:{node_id}", b"{}", stamp=stamp)
        crew.tick()

        assert {worker.cluster.state.scattered() for worker in crew.workers} == {everywhere}


# -- another fleet -------------------------------------------------------------------------------


@pytest.fixture
def strangers(crew):
    """A worker of another application, of another secret, on the same nodes and keys."""
    worker = crew.hire(SECRET_KEY="another")
    crew.workers.append(worker)
    return worker


def test_another_fleet_on_the_same_keys_is_an_error_and_no_node_is_believed(crew, strangers):
    for _ in range(STILL_FOR + 2):
        crew.tick()

    assert trusted(strangers) == set()
    conditions = strangers.cluster.conditions.lasting()
    assert {condition.kind for condition in conditions} == {"foreign_fleet"}
    # A key that each worker makes for itself looks the same.
    assert all("all its workers one SECRET_KEY" in condition.text for condition in conditions)
    report = strangers.console.check()
    assert not report.all_up
    assert all("MSM_KEY_PREFIX" in finding.text for finding in report.nodes)
    causes = {one.code: one for one in attention(strangers.console.survey())}
    cause = causes["foreign_fleet"]
    assert "Each worker makes a SECRET_KEY for itself: give all of them one." in cause.steps


def test_the_fleet_whose_records_another_one_finds_knows_it_two_intervals_later(crew):
    for _ in range(BEATS_AFTER + 1):
        crew.tick()
    crew.workers.append(crew.hire(SECRET_KEY="another"))

    crew.tick()
    crew.tick()

    *here, _ = crew.workers
    for worker in here:
        assert not worker.console.check().all_up
        found = verdict(worker.console.survey())
        assert (found.level, found.code) == ("bad", "foreign_fleet")
        assert trusted(worker) == {"n1", "n2", "n3"}


def test_the_alarm_of_another_fleet_ends_after_its_last_worker(crew, strangers):
    for _ in range(4):
        crew.tick()
    crew.workers.remove(strangers)
    assert crew.workers[0].cluster.conditions.lasting()

    beats_expire(crew)
    for _ in range(ROUNDS + 2):
        crew.tick()

    assert crew.workers[0].cluster.conditions.lasting() == []


def test_a_restart_of_all_workers_with_another_key_is_no_alarm(crew, strangers):
    crew.workers.remove(strangers)
    for _ in range(BEATS_AFTER + 1):
        crew.tick()
    crew.workers = [strangers]

    for number in range(STILL_FOR + 2 * GONE_AFTER):
        if number == GONE_AFTER:
            beats_expire(crew)
        crew.tick()
        assert strangers.cluster.conditions.lasting() == []

    assert events(strangers, "foreign_maps_replaced")


def test_maps_of_a_fleet_that_does_not_live_any_more_are_replaced(crew, strangers):
    crew.tick()
    crew.workers = [strangers]

    for _ in range(STILL_FOR + GONE_AFTER + 2):
        crew.tick()

    assert events(strangers, "foreign_maps_replaced")
    assert trusted(strangers) == {"n1", "n2", "n3"}
    assert strangers.cluster.conditions.lasting() == []
