"""How workers know which others live, without asking for all of them in every tick."""

from __future__ import annotations

import json
import sys

import pytest
from support.crew import INTERVAL, Crew
from support.fake_node import FakeNode

from flask_msm.cluster.beats import GONE_AFTER
from flask_msm.cluster.node_identity import Identities
from flask_msm.cluster.node_maps import NodeMaps
from flask_msm.cluster.shared_map import LONGEST_PAUSE, SharedMap, shared_envelope
from flask_msm.cluster.workers import CROWD, RENEWED_AFTER
from flask_msm.memcached.protocol import ManyLooks
from flask_msm.memcached.statistics import StatisticsAndLooks
from flask_msm.memcached.wire import ProtocolError
from flask_msm.record.hybrid_clock import HybridLogicalClock
from flask_msm.record.keys import keyring


UNTIL = 1e12


@pytest.fixture
def crew():
    made = Crew(4, nodes=3)
    for _ in range(4):
        made.tick()
    return made


def entry(worker, name):
    _, raw = worker.cluster.workers.shared.entry(name)
    return json.loads(raw)


def living(worker):
    return worker.cluster.workers.living()


def names(crew):
    return {worker.name for worker in crew.workers}


def pretend(worker, count, **facts):
    """Let *count* more workers stand in the list of *worker*; return their names."""
    workers = worker.cluster.workers
    raw = json.dumps({**entry(worker, worker.name), **facts}).encode()
    made = [f"host:{number}" for number in range(count)]
    workers.shared.put_newest([(name, raw) for name in made])
    return made


def beat(crew, made):
    """Let the workers called *made* beat on all nodes."""
    key = crew.workers[0].cluster.workers.beats.key
    for name in made:
        crew.put(key(name), b"-")


def ticks(crew, count, *workers):
    for _ in range(count):
        crew.tick(*workers)


# -- what a tick asks ----------------------------------------------------------------------------


def calls_of_a_tick(worker):
    counted = 0

    def count(frame, event, argument):
        nonlocal counted
        counted += event == "call"

    sys.setprofile(count)
    try:
        worker.cluster.monitor.tick()
    finally:
        sys.setprofile(None)
    return counted


def test_a_tick_in_which_nothing_changes_does_the_same_for_ten_workers_and_for_five_hundred():
    counted = {}
    for count in (10, 500):
        crew = Crew(1, nodes=3)
        ticks(crew, 3)
        made = pretend(crew.workers[0], count)
        beat(crew, made)
        ticks(crew, 4)
        counted[count] = []
        for _ in range(3):
            counted[count].append(calls_of_a_tick(crew.workers[0]))
            beat(crew, made)
            crew.clock.advance(INTERVAL)

    assert min(counted[500]) <= min(counted[10]) * 1.02


def test_a_list_that_does_not_change_is_neither_written_nor_read_whole(crew):
    before = [
        node.items[crew.workers[0].cluster.workers.shared.key] for node in crew.nodes.values()
    ]
    crew.operations()

    ticks(crew, 2 * RENEWED_AFTER)

    key = crew.workers[0].cluster.workers.shared.key
    assert [node.items[key] for node in crew.nodes.values()] == before
    assert "get_many" not in {name for name, _ in crew.operations()}


# -- who is gone ---------------------------------------------------------------------------------


def test_a_worker_that_ends_without_signing_off_is_gone_for_all_others_when_it_is_silent(crew):
    *others, ended = crew.workers

    ticks(crew, GONE_AFTER - RENEWED_AFTER, *others)
    assert all(ended.name in living(worker) for worker in others)
    ticks(crew, RENEWED_AFTER + 2, *others)

    assert all(living(worker) == names(crew) - {ended.name} for worker in others)


def test_all_workers_of_a_host_that_end_together_are_gone(crew):
    last, *ended = crew.workers

    ticks(crew, 3 * GONE_AFTER, last)

    assert living(last) == {last.name}
    assert all(entry(last, worker.name)["gone"] for worker in ended)


def test_workers_that_live_are_not_gone_when_nodes_lose_their_beats_or_fail(crew):
    for node_id in ("n1", "n2", "n3"):
        crew.nodes[node_id].restart_empty()
        ticks(crew, 3)
        crew.nodes[node_id].fail()
        ticks(crew, GONE_AFTER + 4)
        crew.nodes[node_id].heal()
        ticks(crew, 4)
        assert all(living(worker) == names(crew) for worker in crew.workers)


def test_a_worker_that_was_taken_for_gone_and_lives_renews_its_entry_where_all_see_it(crew):
    stopped = crew.workers.pop()
    ticks(crew, GONE_AFTER + 5)
    crew.workers.append(stopped)

    ticks(crew, 3)

    assert all(living(worker) == names(crew) for worker in crew.workers)
    assert entry(crew.workers[0], stopped.name)["beats"] is False


def test_a_worker_that_died_long_ago_holds_up_none_that_begins():
    """It used other nodes, and all that would have noticed its end died with it."""
    crew = Crew(1, nodes=3)
    ticks(crew, 3)
    pretend(crew.workers[0], 1, layout=["n1", 2])
    ticks(crew, 1)
    new = crew.hire()

    crew.tick(new)

    assert not new.cluster.workers.layouts_differ()
    assert living(new) == {new.name, crew.workers[0].name}


def test_a_worker_that_lives_with_other_nodes_is_seen_by_one_that_begins():
    crew = Crew(1, nodes=3)
    ticks(crew, 3)
    beat(crew, pretend(crew.workers[0], 1, layout=["n1", 2]))
    ticks(crew, 1)
    new = crew.hire()

    crew.tick(new)

    assert new.cluster.workers.layouts_differ()


# -- workers of the version before ---------------------------------------------------------------


def test_entries_are_renewed_as_long_as_a_worker_of_the_version_before_lives(crew):
    earlier = {"at": crew.clock.now, "beats": None}
    raw = {**entry(crew.workers[0], crew.workers[0].name), **earlier}
    del raw["beats"]
    shared = crew.workers[0].cluster.workers.shared
    shared.put("earlier", json.dumps(raw).encode())
    ticks(crew, 2)
    stamps = {
        worker.name: worker.cluster.workers.shared.stamp(worker.name) for worker in crew.workers
    }

    ticks(crew, RENEWED_AFTER + 1)

    for worker in crew.workers:
        assert "earlier" in living(worker)
        assert entry(worker, worker.name)["beats"] is False
        assert worker.cluster.workers.shared.stamp(worker.name) > stamps[worker.name]

    ticks(crew, GONE_AFTER + 2)

    for worker in crew.workers:
        assert living(worker) == names(crew)
        assert all(entry(worker, name)["beats"] for name in names(crew))


def test_entries_are_renewed_where_nodes_take_no_beats():
    crew = Crew(2, nodes=2)
    for node in crew.nodes.values():
        node.can_look = False

    ticks(crew, 2 * GONE_AFTER)

    assert all(living(worker) == names(crew) for worker in crew.workers)
    crew.workers.pop()
    ticks(crew, GONE_AFTER + 2)
    assert living(crew.workers[0]) == names(crew)


# -- a start of many -----------------------------------------------------------------------------


def test_workers_that_join_a_crowd_announce_themselves_one_after_another():
    crew = Crew(1, nodes=2)
    ticks(crew, 2)
    beat(crew, pretend(crew.workers[0], CROWD))
    ticks(crew, 1)
    new = [crew.hire() for _ in range(20)]

    crew.tick(*new)
    at_once = {worker.name for worker in new} & set(new[0].cluster.workers.names())
    ticks(crew, RENEWED_AFTER + 1, *new)

    assert len(at_once) < len(new)
    assert {worker.name for worker in new} <= set(new[-1].cluster.workers.names())


def test_a_writer_that_loses_waits_longer_each_time_and_never_beyond_its_deadline():
    class Contested(FakeNode):
        def start_cas(self, *arguments):
            return self._exchange("cas", arguments[0], lambda: False)

    crew = Crew(1, nodes=1)
    clock, waited = crew.clock, []
    shared = SharedMap(
        "msm:fleet:x",
        envelope=shared_envelope(lambda: keyring(("secret",))),
        stamps=HybridLogicalClock(clock, worker=1),
        clock=clock,
        pause=lambda seconds: (waited.append(seconds), clock.advance(seconds)),
        chance=lambda: 1.0,
    )
    node = Contested("n1")
    shared.push(node, shared.pull(node, UNTIL), UNTIL)
    shared.put("a", b"1")

    until = clock.monotonic() + 3.5 * LONGEST_PAUSE
    assert not shared.push(node, shared.pull(node, until), until)

    assert waited == sorted(waited)
    assert len(waited) > 3
    assert clock.monotonic() < until - LONGEST_PAUSE


# -- looks ---------------------------------------------------------------------------------------


def test_another_memory_with_the_same_cas_id_is_read_whole(crew):
    """Cas ids begin anew with a memory, so one may come again with something else behind it."""
    worker = crew.workers[0].cluster
    shared, node = worker.control.shared, FakeNode("n9")
    maps = NodeMaps(Identities("msm:"))

    def looked():
        asked = maps.looking(node, [shared], [], {})
        looks = node.look(asked.whole, asked.tokens, UNTIL, beats=asked.beats)
        return maps.held(node, [shared], looks, UNTIL, []).maps[0]

    looked()
    shared.push(node, shared.pull(node, UNTIL), UNTIL)
    looked()
    held = looked()
    unique = node.items[shared.key][1]
    node.items["msm:fleet:identity"] = b"0" * 32, 1
    node.items[shared.key] = b"rubbish", unique

    again = looked()

    assert held.record is not None
    assert (again.found, again.record) == (True, None)


LOOKS = b"HD\r\nEN\r\nHD c12\r\nVA 5 c3\r\na\r\nb!\r\nNS\r\nSERVER_ERROR out of memory\r\n"


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_looks_are_read_however_they_are_cut(size):
    reply = ManyLooks(list("abcdef"), ["out of memory"])
    complete = [reply.feed(LOOKS[at : at + size]) for at in range(0, len(LOOKS), size)]

    assert complete == [False] * (len(complete) - 1) + [True]
    found = reply.outcome(7)
    assert {key: (look.token.unique, look.value) for key, look in found.items()} == {
        "a": (b"", None),
        "c": (b"12", None),
        "d": (b"3", b"a\r\nb!"),
    }


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_statistics_and_looks_behind_them_are_read_however_they_are_cut(size):
    reply = StatisticsAndLooks(ManyLooks(["a", "b"], []))
    answer = b"STAT pid 7\r\nSTAT version 1.6 a\r\nEND\r\nHD c1\r\nVA 5 c2\r\nEND\r\n\r\n"
    complete = [reply.feed(answer[at : at + size]) for at in range(0, len(answer), size)]

    assert complete == [False] * (len(complete) - 1) + [True]
    found = reply.outcome(7)
    assert found.statistics == {"pid": "7", "version": "1.6 a"}
    assert [found.looks[key].value for key in "ab"] == [None, b"END\r\n"]


@pytest.mark.parametrize(
    "answer",
    [b"END\r\nHD\r\nHD\r\n", b"STAT a b\r\nHD\r\n", b"END\r\nSTAT a b\r\n", b"STAT a\r\n"],
)
def test_what_is_no_answer_to_a_probe_is_an_error(answer):
    with pytest.raises(ProtocolError):
        StatisticsAndLooks(ManyLooks(["a"], [])).feed(answer)


@pytest.mark.parametrize(
    "answer",
    [b"HD c12\r\nEN\r\n", b"VA 3 c1\r\nabcd\r\n", b"HD x\r\n", b"END\r\n", b"VA 1\r\na\r\n"],
)
def test_what_is_no_answer_to_a_look_is_an_error(answer):
    with pytest.raises(ProtocolError):
        ManyLooks(["a"], []).feed(answer)
