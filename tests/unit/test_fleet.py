"""Records that workers share: joined, bounded, and believed only as far as it is signed."""

from __future__ import annotations

import logging
import os

import pytest
from support.clock import FakeClock
from support.fake_node import FakeNode

from flask_msm.cluster import shared_map
from flask_msm.cluster import workers as heartbeat_file
from flask_msm.cluster.control import Control, rank
from flask_msm.cluster.events import RING, Events
from flask_msm.cluster.shared_map import LIFE, MAX_SIZE, Bounds, SharedMap
from flask_msm.cluster.trust import SyncStatus
from flask_msm.cluster.workers import (
    GONE_AFTER,
    MOST_GONE,
    RENEWED_AFTER,
    SHOWN_FOR,
    WorkerRegistry,
)
from flask_msm.record.attributes import Attributes
from flask_msm.record.envelope import Envelope
from flask_msm.record.hybrid_clock import HybridLogicalClock
from flask_msm.record.keys import keyring
from flask_msm.record.record import Kind, Record


KEY = "msm:shop:fleet:control"
KEYS = keyring(("secret",))
DAY = 86_400.0
UNTIL = 1e12
INTERVAL = 2.0
FEW = Bounds(removals=100, kept=600.0)
FEW_WORKERS = heartbeat_file.BOUNDS._replace(removals=60)


class Worker:
    """One worker's map, control state and heartbeat, with a clock that may be wrong."""

    numbers = iter(range(1, 1 << 16))

    def __init__(self, clock=None, *, nodes=("n1", "n2"), replicas=2, name=None, bits=None):
        number = next(self.numbers)
        self.reads = ["format:1"]
        self.name = name or f"worker-{number}"
        self.clock = clock or FakeClock()
        self.stamps = HybridLogicalClock(self.clock, worker=number if bits is None else bits)
        self.keys = KEYS
        self.envelope = Envelope(
            lambda: self.keys, codec_id=0, compress_above=4096, max_size=MAX_SIZE
        )
        self.map = SharedMap(
            KEY, envelope=self.envelope, stamps=self.stamps, clock=self.clock, bounds=FEW
        )
        self.control = Control(self.map, worker=lambda: self.name)
        self.heartbeat = WorkerRegistry(
            SharedMap(
                KEY,
                envelope=self.envelope,
                stamps=self.stamps,
                clock=self.clock,
                bounds=FEW_WORKERS,
            ),
            worker=lambda: self.name,
            nodes=nodes,
            replicas=replicas,
            reads=lambda: self.reads,
            interval=INTERVAL,
            clock=self.clock,
        )

    def sync(self, *nodes, keys=KEYS, which=None):
        """Pull from all nodes, then push to all; return what was found."""
        which, self.keys = which or self.map, keys
        pulled = [which.pull(node, UNTIL) for node in nodes]
        for node, found in zip(nodes, pulled, strict=True):
            which.push(node, found, UNTIL)
        return pulled

    def look(self, nodes):
        """Do as a tick does: pull from all, take note of what was found, push to all."""
        pulled = {node.id: self.map.pull(node, UNTIL) for node in nodes}
        lost = self.control.note_found({id_: found.found for id_, found in pulled.items()}, {})
        for node in nodes:
            self.map.push(node, pulled[node.id], UNTIL)
        return lost

    def beat(self, node):
        self.heartbeat.announce()
        self.sync(node, which=self.heartbeat.shared)

    def seal(self, record, key=KEY):
        return self.envelope.seal(record, key)


def record(kind=Kind.DATA, entries=None, *, now=FakeClock().now):
    return Record(kind, now, now, now + 1000, 1, Attributes(entries or {}, {}, 0))


def values(shared):
    return {name: value for name, (_, value) in shared.values("").items()}


def test_a_map_that_learns_is_whole_all_the_time_for_those_who_read_it(node, monkeypatch):
    """Readers take no lock: a session that ended would look alive in between."""
    here, there = Worker(), Worker()
    here.map.put("one", b"1")
    there.map.put("two", b"2")
    there.sync(node)
    shown = []
    usual = SharedMap.__setattr__

    def show(shared, name, value):
        usual(shared, name, value)
        shown.append(set(shared.attributes.entries))

    monkeypatch.setattr(SharedMap, "__setattr__", show)

    here.sync(node)

    assert set(here.map.attributes.entries) == {"one", "two"}
    assert all("one" in names for names in shown)


@pytest.fixture
def node():
    return FakeNode("n1")


@pytest.fixture
def nodes():
    return [FakeNode("n1"), FakeNode("n2")]


def standing(worker, node_id="n1"):
    return worker.control.standing(node_id)


# -- what a small node takes of the control map ---------------------------------------------------


def test_a_node_that_is_too_small_keeps_facts_of_nodes_then_choices_for_all_then_single_ones():
    names = ["rebuilt:n1", "choice:policy", "choice:pin:cart", "condition:full:n1"]

    assert sorted({*names}, key=rank, reverse=True) == names


# -- the map -------------------------------------------------------------------------------------


def test_a_map_that_all_nodes_hold_is_opened_once(nodes, monkeypatch):
    one, other = Worker(), Worker()
    one.map.put("a", b"1")
    one.sync(*nodes)
    opened = []
    really = other.envelope.open
    monkeypatch.setattr(
        other.envelope, "open", lambda data, key: opened.append(key) or really(data, key)
    )

    for _ in range(3):
        other.sync(*nodes)

    assert values(other.map) == {"a": b"1"}
    assert opened == [KEY]


def test_a_map_that_was_written_here_is_not_opened(nodes, monkeypatch):
    one = Worker()
    one.map.put("a", b"1")
    one.sync(*nodes)
    monkeypatch.setattr(one.envelope, "open", None)

    assert all(found.record for found in one.sync(*nodes))


@pytest.mark.parametrize("who", ["reads", "wrote"])
def test_a_map_is_left_alone_when_the_secret_it_was_verified_with_is_gone(node, who):
    one, other = Worker(), Worker()
    one.map.put("a", b"1")
    one.sync(node)
    other.sync(node)
    worker = one if who == "wrote" else other

    [found] = worker.sync(node, keys=keyring(("another secret",)))

    assert found.foreign
    assert found.record is None


def test_a_map_that_was_cut_here_is_learned_again_from_the_same_bytes(node):
    one, other = Worker(), Worker()
    for number in range(40):
        one.map.put(f"a{number}", os.urandom(200))
    one.sync(node)
    other.map.fit(5000)

    for rounds in (1, 2):
        other.sync(node)
        assert len(values(other.map)) < 40
        assert other.map.cuts == rounds * (40 - len(values(other.map)))


def test_a_value_that_one_worker_sets_is_received_by_another_one(node):
    one, other = Worker(), Worker()
    one.map.put("a", b"1")
    one.sync(node)
    other.map.put("b", b"2")
    other.sync(node)
    one.sync(node)

    assert values(one.map) == values(other.map) == {"a": b"1", "b": b"2"}


def test_a_node_that_lost_the_map_gets_it_back_from_any_worker(node):
    one, other = Worker(), Worker()
    one.map.put("a", b"1")
    one.sync(node)
    other.sync(node)
    node.restart_empty()

    found = other.sync(node)

    assert not found[0].found
    late = Worker()
    late.sync(node)
    assert values(late.map) == {"a": b"1"}


def test_maps_of_nodes_that_were_apart_are_joined(nodes):
    one, other = Worker(), Worker()
    one.map.put("a", b"1")
    one.sync(nodes[0])
    other.map.put("b", b"2")
    other.sync(nodes[1])

    Worker().sync(*nodes)

    for node in nodes:
        reader = Worker()
        reader.sync(node)
        assert values(reader.map) == {"a": b"1", "b": b"2"}


@pytest.mark.parametrize("written", [False, True], ids=["nowhere", "to a node"])
def test_a_claim_is_given_up_for_an_older_one_until_others_can_know_it(nodes, written):
    clock = FakeClock()
    older, newer = Worker(clock), Worker(clock)
    older.map.claim("a", b"older")
    older.sync(nodes[0])
    clock.advance(1)
    newer.map.claim("a", b"newer")
    if written:
        newer.sync(nodes[1])

    newer.sync(nodes[0])

    assert values(newer.map) == {"a": b"newer" if written else b"older"}


def test_a_claim_that_was_noted_on_a_host_is_not_given_up(node):
    clock = FakeClock()
    older, newer = Worker(clock), Worker(clock)
    older.map.claim("a", b"older")
    older.sync(node)
    clock.advance(1)
    newer.map.claim("a", b"newer")
    newer.map.sealed()

    newer.sync(node)

    assert values(newer.map) == {"a": b"newer"}


def test_a_node_that_knows_all_is_not_written(node):
    worker = Worker()
    worker.map.put("a", b"1")
    worker.sync(node)
    before = node.items[KEY]

    worker.sync(node)
    Worker().sync(node)

    assert node.items[KEY] == before


@pytest.mark.parametrize("empty", [False, True], ids=["there already", "not there yet"])
def test_a_map_that_another_worker_writes_in_between_is_joined(node, empty):
    one, other = Worker(), Worker()
    if not empty:
        Worker().sync(node)
    pulled = one.map.pull(node, UNTIL)
    other.map.put("b", b"2")
    other.sync(node)

    one.map.put("a", b"1")
    one.map.push(node, pulled, UNTIL)

    reader = Worker()
    reader.sync(node)
    assert values(reader.map) == {"a": b"1", "b": b"2"}


def test_a_map_that_is_lost_between_reading_and_writing_is_left_for_the_next_tick_to_miss(node):
    """Written anew at once it would hide that the node lost everything else, too."""
    worker = Worker()
    worker.sync(node)
    worker.map.put("a", b"1")
    pulled = worker.map.pull(node, UNTIL)
    node.restart_empty()

    worker.map.push(node, pulled, UNTIL)

    assert KEY not in node.items


def test_a_writer_that_always_loses_gives_up_until_the_next_tick():
    tries = []

    class Contested(FakeNode):
        def start_cas(self, *arguments):
            tries.append("cas")
            return self._exchange("cas", KEY, lambda: False)

    node = Contested("n1")
    Worker().sync(node)
    worker = Worker()
    worker.map.put("a", b"1")
    worker.sync(node)

    assert len(tries) == shared_map.MAX_TRIES


def test_an_unchanged_map_lives_on_as_long_as_it_is_shared(node):
    """Otherwise a fleet in which nothing happens for a month would lose its control state."""
    worker = Worker()
    worker.map.put("a", b"1")
    for _ in range(100):
        worker.sync(node)
        worker.clock.advance(DAY)
        assert node.ttls[KEY] > LIFE / 2

    opened = worker.envelope.open(node.items[KEY][0], KEY)
    assert opened.expires_at - worker.clock.time() > LIFE / 3


def test_a_map_is_not_written_at_every_tick_just_to_live_on(node):
    worker = Worker()
    written = set()
    for _ in range(60):
        worker.sync(node)
        worker.clock.advance(DAY)
        written.add(node.items[KEY][1])

    assert len(written) <= 5


# -- untrusted input -----------------------------------------------------------------------------


def broken_values():
    worker = Worker()
    good = worker.seal(record(entries={"evil": (1 << 60, b"1")}))
    return {
        "rubbish": b"rubbish",
        "empty": b"",
        "one byte": b"\0",
        "cut": good[:-1],
        "flipped": good[:40] + bytes([good[40] ^ 1]) + good[41:],
        "of another key": worker.seal(record(entries={"evil": (1 << 60, b"1")}), "msm:other:x"),
        "oversize": b"M" * (MAX_SIZE + 1),
    }


@pytest.mark.parametrize("kind", broken_values())
def test_a_map_that_is_corrupt_forged_or_too_large_is_counted_and_replaced(node, kind):
    worker = Worker()
    worker.map.put("a", b"1")
    node.put(KEY, broken_values()[kind])

    (pulled,) = worker.sync(node)

    assert (pulled.found, pulled.record, worker.map.refused) == (True, None, 1)
    assert values(worker.map) == {"a": b"1"}
    assert worker.envelope.open(node.items[KEY][0], KEY).attributes == worker.map.attributes
    worker.sync(node)
    assert worker.map.refused == 1


def test_a_map_signed_with_a_key_that_is_not_known_here_is_left_alone(node):
    newer = Worker()
    newer.map.put("a", b"1")
    newer.sync(node, keys=keyring(("newer", "secret")))
    before = node.items[KEY]
    worker = Worker()
    worker.map.put("b", b"2")

    (pulled,) = worker.sync(node)

    assert pulled.foreign
    assert node.items[KEY] == before
    assert values(worker.map) == {"b": b"2"}
    assert worker.map.refused == 0


def test_a_map_survives_the_rotation_of_keys(node):
    worker = Worker()
    worker.map.put("a", b"1")
    worker.sync(node)
    rotated = Worker()

    rotated.sync(node, keys=keyring(("newer", "secret")))

    assert values(rotated.map) == {"a": b"1"}
    # It changes seldom, so it has to be signed anew before the old key may go.
    later = Worker()
    later.sync(node, keys=keyring(("newer",)))
    assert values(later.map) == {"a": b"1"}


@pytest.mark.parametrize("kind", [Kind.ALIAS, Kind.DESTROYED])
def test_a_record_of_another_kind_is_no_map(node, kind):
    worker = Worker()
    worker.map.put("a", b"1")
    node.put(KEY, worker.seal(record(kind, {"evil": (1, b"1")})))

    worker.sync(node)

    assert values(worker.map) == {"a": b"1"}
    reader = Worker()
    reader.sync(node)
    assert values(reader.map) == {"a": b"1"}


def test_an_entry_that_does_not_fit_into_a_node_is_cut_and_the_rest_is_shared(node):
    worker = Worker()
    worker.map.put("small", b"1")
    worker.map.put("big", os.urandom(MAX_SIZE))

    worker.sync(node)

    assert (set(values(worker.map)), worker.map.cuts) == (set(), 2)  # the newest stay, if any can
    worker.map.put("small", b"2")
    worker.sync(node)
    assert values(worker.map) == {"small": b"2"}


# -- stamps and growth ---------------------------------------------------------------------------


def test_a_change_beats_what_a_clock_a_day_ahead_has_set(node):
    ahead = Worker(FakeClock(FakeClock().now + DAY))
    ahead.map.put("a", b"ahead")
    ahead.sync(node)
    worker = Worker()
    worker.sync(node)

    for number in range(3):
        worker.map.put("a", b"%d" % number)
        worker.sync(node)
        ahead.sync(node)
        assert values(ahead.map) == {"a": b"%d" % number}
    assert worker.stamps.clock_ahead > 0
    # Its own clock is not dragged along.
    assert worker.map.put("b", b"") < ahead.map.stamp("a")


def removing(worker, count, *, seconds=10.0):
    for number in range(count):
        worker.map.put(f"gone {number}", b"1")
        worker.map.put(f"gone {number}", None)
        worker.clock.advance(seconds)


def test_removals_are_folded_away_and_what_lives_keeps_its_stamp(node):
    worker = Worker()
    stamp = worker.map.put("stays", b"1")
    removing(worker, 3 * FEW.removals)
    worker.sync(node)

    assert len(worker.map.attributes.entries) <= FEW.removals + 1
    assert values(worker.map) == {"stays": b"1"}
    assert worker.map.attributes.floor > stamp == worker.map.stamp("stays")
    assert len(node.items[KEY][0]) < 4000


def test_removals_that_others_may_not_know_yet_are_kept_however_many(node):
    worker = Worker()
    removing(worker, 2 * FEW.removals, seconds=0.1)

    assert worker.map.attributes.floor == 0


def test_a_node_from_before_the_removals_were_folded_brings_nothing_back(nodes):
    worker, (one, other) = Worker(), nodes
    worker.map.put("stays", b"1")
    worker.map.put("gone 5", b"before")
    worker.sync(one, other)
    removing(worker, 2 * FEW.removals)
    worker.sync(one)
    late = Worker(worker.clock)

    late.sync(other)
    late.sync(one, other)
    worker.sync(one, other)

    for found in (worker, late):
        assert values(found.map) == {"stays": b"1"}
        assert "gone 5" not in found.map.attributes.entries
    assert worker.map.attributes == late.map.attributes


def test_taking_back_many_pins_changes_nothing_of_which_nodes_are_trusted(nodes):
    worker = Worker()
    worker.look(nodes)
    worker.control.set_missed("n1", "test")
    worker.control.set_rebuilt("n1", worker.stamps.next(worker.map.stamp("missed:n1")))
    before = [standing(worker, node_id) for node_id in ("n1", "n2")]

    for number in range(2 * FEW.removals):
        worker.control.choose(f"pin:{number}", "pinned", who="anna", why="test")
        worker.map.put(f"choice:pin:{number}", None)
        worker.clock.advance(10.0)
    worker.look(nodes)

    assert [standing(worker, node_id) for node_id in ("n1", "n2")] == before


def test_a_drain_that_is_older_than_folded_removals_ends_as_it_was_ordered(nodes):
    worker = Worker()
    worker.control.set_drain("n1", "draining", who="anna", why="test")
    worker.sync(*nodes)
    other = Worker(worker.clock)
    removing(worker, 2 * FEW.removals)
    worker.sync(nodes[0])
    other.sync(nodes[1])

    assert worker.control.set_drained("n1", ordered=worker.control.drain("n1").stamp)
    worker.sync(*nodes)
    other.sync(*nodes)

    assert [found.control.drains() for found in (worker, other)] == [{"n1": "drained"}] * 2


def test_a_worker_that_was_killed_does_not_live_again_when_removals_are_folded(node):
    clock = FakeClock()
    watcher, killed = Worker(clock), Worker(clock)
    killed.beat(node)
    for _ in range(2 * FEW_WORKERS.removals):
        worker = Worker(clock)
        worker.beat(node)
        worker.heartbeat.leave()
        clock.advance(INTERVAL)
        worker.sync(node, which=worker.heartbeat.shared)
        watcher.beat(node)
        assert killed.name not in watcher.heartbeat.living() or clock.now < FakeClock().now + 60

    assert watcher.heartbeat.shared.attributes.floor
    assert watcher.heartbeat.living() == {watcher.name}


def test_a_change_counts_also_after_a_clock_a_day_ahead_has_folded_removals_away(node):
    ahead = Worker(FakeClock(FakeClock().now + DAY))
    removing(ahead, 2 * FEW.removals)
    ahead.sync(node)
    worker = Worker()
    worker.sync(node)
    assert worker.map.attributes.floor

    worker.map.put("a", b"1")
    worker.sync(node)
    ahead.sync(node)

    assert values(ahead.map) == {"a": b"1"}


def test_values_by_prefix_leave_out_what_was_removed():
    worker = Worker()
    worker.map.put("x:a", b"1")
    worker.map.put("x:b", b"2")
    worker.map.put("y:a", b"3")
    worker.map.put("x:b", None)

    assert {name: value for name, (_, value) in worker.map.values("x:").items()} == {"a": b"1"}
    assert worker.map.stamp("x:b") > worker.map.stamp("x:a")
    assert worker.map.stamp("z") == 0


# -- control: memory lost ------------------------------------------------------------------------


def test_at_the_very_start_nothing_is_missed(nodes):
    worker = Worker()

    assert worker.look(nodes) == set()
    assert standing(worker, "n1").trusted
    assert standing(worker, "n2").trusted


def test_a_node_that_forgot_is_noticed_by_a_worker_that_runs(nodes):
    worker = Worker()
    worker.look(nodes)
    nodes[0].restart_empty()

    assert worker.look(nodes) == {"n1"}
    assert not standing(worker, "n1").trusted
    assert standing(worker, "n2").trusted
    assert worker.look(nodes) == set()


def test_a_node_that_forgot_is_noticed_by_a_worker_that_starts_beside_it(nodes):
    Worker().look(nodes)
    nodes[0].restart_empty()
    late = Worker()

    assert late.look(nodes) == {"n1"}
    assert not standing(late, "n1").trusted
    assert standing(late, "n2").trusted


def test_a_node_that_is_new_to_a_fleet_holds_nothing_and_is_not_trusted(nodes):
    """Also when all workers were stopped and started with one more node in their list."""
    Worker().look(nodes[:1])
    late = Worker()

    assert late.look(nodes) == set()
    assert standing(late, "n1").trusted
    assert not standing(late, "n2").trusted


def test_a_loss_that_one_worker_found_is_known_to_all(nodes):
    one, other = Worker(), Worker()
    one.look(nodes)
    other.look(nodes)
    nodes[1].restart_empty()
    one.look(nodes)

    assert other.look(nodes) == set()
    assert not standing(other, "n2").trusted


# -- control: missed and rebuilt -----------------------------------------------------------------


def test_a_miss_during_a_rebuild_is_newer_than_the_rebuild():
    worker = Worker()
    worker.control.set_missed("n1", "not reachable")
    began = standing(worker).missed + 1
    worker.control.set_missed("n1", "not reachable")

    worker.control.set_rebuilt("n1", began)

    assert not standing(worker).trusted


@pytest.mark.parametrize("skew", [0.0, 30.0, DAY])
def test_a_miss_counts_also_if_the_clock_of_who_rebuilt_was_ahead(node, skew):
    ahead = Worker(FakeClock(FakeClock().now + skew), bits=60_000)
    ahead.control.set_missed("n1", "not reachable")
    ahead.control.set_rebuilt("n1", ahead.stamps.next(standing(ahead).missed))
    ahead.sync(node)
    worker = Worker(bits=1)
    worker.sync(node)
    assert standing(worker).trusted

    worker.control.set_missed("n1", "writes did not arrive")
    worker.sync(node)
    ahead.sync(node)

    assert not standing(worker).trusted
    assert not standing(ahead).trusted


# -- control: drains -----------------------------------------------------------------------------


def test_a_drain_goes_through_its_steps_and_is_taken_back(node):
    worker, other = Worker(), Worker()
    for value in ("draining", "drained", None):
        worker.control.set_drain("n1", value, who="anna", why="")
        worker.sync(node)
        other.sync(node)
        assert other.control.drains() == ({"n1": value} if value else {})


GARBAGE = {
    "no json": b"{",
    "no utf-8": b"\xff\xfe\xff",
    "empty": b"",
    "a list": b"[1]",
    "null": b"null",
    "a number": b"1e999",
    "deep": b"[" * 100_000,
    "many digits": b"9" * 5000,
    "another value": b'{"value": "resting"}',
    "a value of another type": b'{"value": ["draining"]}',
}


@pytest.mark.parametrize("raw", GARBAGE.values(), ids=GARBAGE)
def test_a_drain_that_cannot_be_read_is_no_drain(raw):
    worker = Worker()
    worker.map.put("drain:n1", raw)
    worker.control.set_drain("n2", "draining", who="anna", why="")

    assert worker.control.drains() == {"n2": "draining"}


def test_a_drain_that_ends_does_not_undo_what_an_operator_took_back_meanwhile():
    worker = Worker()
    worker.control.set_drain("n1", "draining", who="anna", why="new disk")
    ordered = worker.control.drain("n1").stamp
    worker.control.set_drain("n1", None, who="anna", why="changed my mind")

    assert not worker.control.set_drained("n1", ordered=ordered)
    assert worker.control.drains() == {}


def test_a_drain_that_ends_does_not_undo_what_was_taken_back_on_another_worker(nodes):
    drainer, operator = Worker(), Worker()
    drainer.control.set_drain("n1", "draining", who="anna", why="new disk")
    drainer.sync(*nodes)
    operator.sync(*nodes)
    ordered = drainer.control.drain("n1").stamp
    operator.clock.advance(1)
    operator.control.set_drain("n1", None, who="anna", why="changed my mind")
    operator.sync(*nodes)

    # Later than the take-back, of which this worker has not learned yet.
    drainer.clock.advance(2)
    drainer.control.set_drained("n1", ordered=ordered)
    drainer.sync(*nodes)
    operator.sync(*nodes)

    assert drainer.control.drains() == operator.control.drains() == {}


# -- heartbeats ----------------------------------------------------------------------------------


def names(worker):
    return set(values(worker.heartbeat.shared))


def test_workers_learn_of_each_other(node):
    clock = FakeClock()
    one, other = Worker(clock), Worker(clock)
    one.beat(node)
    other.beat(node)
    one.beat(node)

    assert names(one) == names(other) == {one.name, other.name}
    assert not one.heartbeat.layouts_differ()


@pytest.mark.parametrize(
    "layout", [{"nodes": ("n1",)}, {"nodes": ("n1", "n2", "n3")}, {"replicas": 1}], ids=str
)
def test_workers_with_other_nodes_or_another_number_of_copies_are_noticed(node, layout):
    clock = FakeClock()
    one, other = Worker(clock), Worker(clock, **layout)
    one.beat(node)
    other.beat(node)
    one.beat(node)

    assert one.heartbeat.layouts_differ()
    assert other.heartbeat.layouts_differ()


def test_the_order_of_nodes_makes_no_difference(node):
    clock = FakeClock()
    one, other = Worker(clock), Worker(clock, nodes=("n2", "n1"))
    one.beat(node)
    other.beat(node)

    assert not other.heartbeat.layouts_differ()


def test_a_worker_without_heartbeats_does_not_count_and_is_removed_after_an_hour(node):
    clock = FakeClock()
    old, new = Worker(clock, nodes=("n1",)), Worker(clock)
    old.beat(node)
    new.beat(node)
    assert new.heartbeat.layouts_differ()

    for _ in range(GONE_AFTER):
        clock.advance(INTERVAL)
        new.beat(node)

    assert not new.heartbeat.layouts_differ()
    assert new.heartbeat.living() == {new.name}
    clock.advance(SHOWN_FOR - 2 * GONE_AFTER * INTERVAL)
    new.beat(node)
    later = Worker(clock)
    later.beat(node)
    assert names(new) == {old.name, new.name}, "for people to see"
    assert old.name in names(later)

    for _ in range(2 * GONE_AFTER):
        clock.advance(INTERVAL)
        later.beat(node)
    assert names(later) == {new.name, later.name}, "who came later waits no longer"


def test_a_worker_that_goes_on_is_live_when_its_clock_is_behind(node):
    ahead = Worker(FakeClock(FakeClock().now + DAY), nodes=("n1",))
    new = Worker()
    for _ in range(3 * GONE_AFTER):
        for worker in (ahead, new):
            worker.clock.advance(INTERVAL)
            worker.beat(node)

    assert new.heartbeat.layouts_differ()


def test_a_worker_that_ends_is_removed_from_the_list(node):
    clock = FakeClock()
    old, new = Worker(clock, nodes=("n1",)), Worker(clock)
    old.beat(node)
    old.heartbeat.leave()
    old.sync(node, which=old.heartbeat.shared)
    new.beat(node)

    assert not new.heartbeat.layouts_differ()
    assert names(new) == {new.name}


def test_a_worker_that_left_and_begins_again_is_announced_at_once(node):
    worker = Worker()
    worker.beat(node)
    worker.heartbeat.leave()

    worker.beat(node)

    assert names(worker) == {worker.name}


def test_a_worker_that_was_forked_is_announced_under_a_name_of_its_own(node):
    worker = Worker(name="host:1")
    worker.beat(node)
    worker.name = "host:2"

    worker.beat(node)

    assert names(worker) == {"host:1", "host:2"}


def test_a_worker_is_not_announced_at_every_tick(node):
    worker = Worker()
    stamps = set()
    for _ in range(30):
        worker.beat(node)
        stamps.add(worker.heartbeat.shared.stamp(worker.name))
        worker.clock.advance(INTERVAL)

    assert len(stamps) == 30 / RENEWED_AFTER


def test_a_clock_that_goes_back_does_not_silence_a_worker(node):
    worker = Worker()
    worker.beat(node)
    before = worker.heartbeat.shared.stamp(worker.name)
    worker.clock.now -= 3600
    worker.beat(node)

    assert worker.heartbeat.shared.stamp(worker.name) > before


def test_a_worker_without_ticks_is_not_announced_and_removes_no_other(node):
    clock = FakeClock()
    one, silent = Worker(clock), Worker(clock)
    silent.heartbeat._interval = 0
    one.beat(node)
    silent.beat(node)

    assert names(silent) == {one.name}


HUGE = {
    "no time": b'{"layout": ["n1", "n2", 2]}',
    "a huge number": b'{"at": 1' + b"0" * 400 + b', "layout": []}',
    "infinite": b'{"at": 1e999, "layout": []}',
    "not a number": b'{"at": NaN, "layout": []}',
    "a text": b'{"at": "now", "layout": []}',
    "a day ahead": b'{"at": %d, "layout": []}' % (FakeClock().now + DAY),
}


@pytest.mark.parametrize("raw", {**GARBAGE, **HUGE}.values(), ids={**GARBAGE, **HUGE})
def test_an_entry_that_cannot_be_read_is_no_worker_and_is_removed(node, raw):
    worker = Worker()
    worker.heartbeat.shared.put("other", raw)

    for _ in range(GONE_AFTER + RENEWED_AFTER):
        assert not worker.heartbeat.layouts_differ()
        worker.beat(node)
        worker.clock.advance(INTERVAL)

    assert names(worker) == {worker.name}


def test_workers_that_come_and_go_do_not_make_the_map_grow(node):
    clock = FakeClock()
    watcher = Worker(clock)
    most = FEW_WORKERS.removals
    for _ in range(2 * most):
        Worker(clock).beat(node)  # killed: it does not remove itself
        clock.advance(INTERVAL)
        watcher.beat(node)

    shared = watcher.heartbeat.shared
    assert len(shared.attributes.entries) <= most + MOST_GONE + 2 * GONE_AFTER
    assert len(watcher.heartbeat._heard) <= MOST_GONE + 2 * GONE_AFTER
    assert len(node.items[KEY][0]) < 50_000


# -- events --------------------------------------------------------------------------------------


def test_the_ring_of_events_is_bounded():
    events = Events(FakeClock())
    for number in range(RING + 10):
        events.add("info", "kind", str(number))

    kept = events.newest()
    assert len(kept) == RING
    assert (kept[0].id, kept[-1].id) == (RING + 10, 11)


def test_every_event_is_one_line_of_the_log(caplog):
    events = Events(FakeClock())
    with caplog.at_level(logging.INFO, "flask_msm.events"):
        events.add("info", "node_up", "n1 is up")
        events.add("warning", "node_down", "n1 is down")
        events.add("error", "odd", "something is odd")

    assert [(entry.levelname, entry.getMessage()) for entry in caplog.records] == [
        ("INFO", "node_up: n1 is up"),
        ("WARNING", "node_down: n1 is down"),
        ("ERROR", "odd: something is odd"),
    ]


def test_a_listener_is_called_outside_of_the_lock_and_may_add_events_itself():
    received = []

    def listen(event):
        assert not events._lock.locked()
        received.append(event.kind)
        if event.kind == "first":
            events.add("info", "second", "")

    events = Events(FakeClock(), listen)
    events.add("info", "first", "")

    assert received == ["first", "second"]


def test_a_listener_that_fails_is_logged_and_the_event_is_kept(caplog):
    def listen(event):
        raise ValueError

    events = Events(FakeClock(), listen)
    with caplog.at_level(logging.ERROR, "flask_msm.events"):
        events.add("info", "kind", "text")

    assert len(events.newest()) == 1
    assert "listener" in caplog.text


# -- stamps of trust -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("standing", "trusted"),
    [
        (SyncStatus(), True),
        (SyncStatus(5, 4), False),
        (SyncStatus(5, 5), False),
        (SyncStatus(5, 6), True),
    ],
)
def test_only_a_rebuild_that_began_after_the_miss_answers_it(standing, trusted):
    assert standing.trusted is trusted


def test_a_node_is_empty_until_a_rebuild_that_began_after_its_loss():
    control = Worker().control
    control.note_found({"n1": True}, {})
    control.note_found({"n1": False}, {})
    lost = control.lost()["n1"]

    control.set_rebuilt("n1", lost)
    assert control.empty() == {"n1"}

    control.set_rebuilt("n1", lost + 1)
    assert control.empty() == set()
