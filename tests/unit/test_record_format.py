"""The newer format of records is written as long as all workers that live read it."""

from __future__ import annotations

import pytest
from flask import session
from support.crew import BY, INTERVAL, Crew
from support.policies import contents, visit, write

from flask_msm.cluster.workers import GONE_AFTER
from flask_msm.record.segments import Change


@pytest.fixture
def crew():
    made = Crew(2, nodes=3)
    made.tick()
    made.tick()
    return made


def store(worker, **values):
    """Change the session in a request; return the formats of all its copies."""
    worker.do(lambda: session.update(values))
    return formats(worker)


def formats(worker):
    nodes = worker.cluster.nodes.values()
    return {node.items[worker.key()][0][2] for node in nodes if worker.key() in node.items}


def hide(worker, *names):
    """Let a worker announce no more what it reads, as one of an earlier version."""
    worker.cluster.workers._reads = lambda: list(names)
    worker.cluster.workers._announced = ()


def test_workers_that_all_read_it_write_the_newer_format(crew):
    assert store(crew.workers[0], number=1) == {2}


def test_a_worker_that_has_not_asked_the_nodes_yet_writes_the_older_one(crew):
    crew.workers.append(newest := crew.hire())

    assert store(newest, number=1) == {1}
    crew.tick()
    assert store(newest, number=2) == {2}


@pytest.mark.parametrize("reads", [[], ["format:1"], ["format:1", "format:3"]])
def test_with_one_worker_that_does_not_read_it_the_older_one_is_written(crew, reads):
    one, other = crew.workers
    store(one, number=1)
    hide(other, *reads)
    crew.tick()
    crew.tick()

    assert store(one, number=2) == {1}
    # What it was before can be read all the same.
    assert one.ask(lambda: session["number"]) == 2


def test_a_worker_that_ended_is_not_waited_for(crew):
    one, other = crew.workers
    hide(other)
    crew.tick()
    crew.tick()
    assert store(one, number=1) == {1}

    for _ in range(GONE_AFTER + 1):
        crew.tick(one)

    assert store(one, number=2) == {2}


def test_a_worker_that_slept_longer_than_others_wait_looks_before_it_writes_the_newer_one(crew):
    one, _ = crew.workers
    store(one, number=1)
    crew.clock.advance(GONE_AFTER * INTERVAL)

    assert one.state.parts.record_format.current() == 1
    crew.tick()
    assert one.state.parts.record_format.current() == 2


def test_without_answers_of_nodes_what_the_workers_read_is_not_known_for_long(crew):
    crew.outage()
    for _ in range(GONE_AFTER + 1):
        crew.tick()

    assert crew.workers[0].state.parts.record_format.current() == 1


@pytest.mark.parametrize(
    "config", [{"MSM_FAST_PATH": False}, {"MSM_PROBE_INTERVAL": 0}, {"MSM_STICKY": True}]
)
def test_without_the_fast_path_or_ticks_the_older_format_is_written(config):
    crew = Crew(1, nodes=3, **config)
    crew.tick()
    crew.tick()

    assert crew.workers[0].state.parts.record_format.current() == 1


def test_a_worker_without_the_fast_path_reads_the_newer_format_and_folds_what_it_writes(crew):
    one, _ = crew.workers
    store(one, number=1)
    grow(one)
    crew.workers.append(back := crew.hire(MSM_FAST_PATH=False))
    crew.tick()

    visit(back, write(more=2), one.cookie())

    assert formats(one) == {1}
    assert one.ask(contents) == {"number": 1, "more": 2}


def test_local_storage_is_written_in_the_older_format(crew, tmp_path):
    one, _ = crew.workers
    store(one, number=1)

    entry = one.state.parts.local._envelope.seal(record_of(one), one.key())

    assert entry[2] == 1


def record_of(worker):
    nodes = worker.cluster.nodes.values()
    data = next(node.items[worker.key()][0] for node in nodes if worker.key() in node.items)
    return worker.state.parts.envelope.open(data, worker.key())


def grow(worker):
    """Append a change to every copy."""
    key, record = worker.key(), record_of(worker)
    entries = {"number": (record.version + 1, record.attributes.entries["number"][1])}
    change = Change(record.version, record.version + 1, entries)
    sealed = worker.state.parts.envelope.seal_change(change, key)
    for node in worker.cluster.nodes.values():
        if key in node.items:
            node.put(key, node.items[key][0] + sealed)


def test_an_operator_sees_a_session_with_changes_behind_it_and_ends_it(crew):
    one, _ = crew.workers
    store(one, number=1)
    grow(one)

    facts = one.console.lookup(one.cookie(), actor="anna", reason="a call")

    assert set(facts.holders) == set(facts.home_nodes)
    assert facts.behind == ()
    assert facts.version == str(record_of(one).version)
    one.console.revoke(facts.handle, **BY)
    assert one.ask(contents) == {}


def test_a_check_looks_at_every_part_of_a_record(crew):
    one, _ = crew.workers
    store(one, number=1)
    grow(one)
    assert one.console.inspect(one.homes()).troubles == ()

    for node in one.cluster.nodes.values():
        if one.key() in node.items:
            node.put(one.key(), node.items[one.key()][0] + b"rubbish")

    assert {trouble.what for trouble in one.console.inspect(one.homes()).troubles} == {"damaged"}


def test_a_check_calls_a_change_behind_a_record_of_the_older_format_no_damage(crew):
    """It is read as before, and both are written anew when the session is asked for."""
    one, _ = crew.workers
    store(one, number=1)
    for node in one.cluster.nodes.values():
        if one.key() in node.items:
            older = one.state.parts.local._envelope.seal(record_of(one), one.key())
            node.put(one.key(), older)
    grow(one)

    assert formats(one) == {1}
    assert one.console.inspect(one.homes()).troubles == ()


def test_a_tombstone_keeps_how_a_session_ended_and_the_name_of_the_operator(crew):
    one, _ = crew.workers
    store(one, number=1)
    facts = one.console.lookup(one.cookie(), actor="anna", reason="a call")
    key, began = one.key(), crew.clock.time()

    one.console.revoke(facts.handle, **BY)

    for home in facts.home_nodes:
        ending = one.state.parts.envelope.open(crew.nodes[home].items[key][0], key).ending
        assert (ending.how, ending.by) == ("revoked: a test", "anna")
        assert ending.at == began


def test_a_tombstone_of_a_session_that_its_browser_ended_names_no_operator(crew):
    one, _ = crew.workers
    store(one, number=1)
    key = one.key()

    one.do(lambda: session.destroy())

    held = [node.items[key][0] for node in crew.nodes.values() if key in node.items]
    endings = {one.state.parts.envelope.open(data, key).ending for data in held}
    assert {(ending.how, ending.by) for ending in endings} == {("signed out", "")}
