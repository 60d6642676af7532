"""A lasting condition is reported once: one event, one line for each host, one of the status."""

from __future__ import annotations

import json
import logging

import pytest
from support.clock import FakeClock
from support.crew import Crew
from support.fake_node import FakeNode

from flask_msm.cluster.conditions import MAX_TEXT, MOST, PREFIX, ROUNDS, Conditions
from flask_msm.cluster.events import Events
from flask_msm.cluster.shared_map import MAX_SIZE, SharedMap
from flask_msm.maintenance.node_watch import QUIET
from flask_msm.record.envelope import Envelope
from flask_msm.record.hybrid_clock import HybridLogicalClock
from flask_msm.record.keys import keyring


KEY = "msm:shop:fleet:control"
KEYS = keyring(("secret",))
UNTIL = 1e12
KIND, SUBJECT, TEXT = "node_full", "n1", "n1 is full: give it more memory"


class Worker:
    """One worker that finds conditions, over nodes in memory; it lives until it is removed."""

    def __init__(self, town, name):
        self.name, self.town = name, town
        envelope = Envelope(
            lambda: keyring(("secret",)), codec_id=0, compress_above=4096, max_size=MAX_SIZE
        )
        number = len(town.workers) + 1
        stamps = HybridLogicalClock(town.clock, worker=number)
        self.map = SharedMap(KEY, envelope=envelope, stamps=stamps, clock=town.clock)
        self.events = Events(town.clock)
        self.conditions = Conditions(
            self.map,
            worker=lambda: name,
            living=lambda: town.living,
            events=self.events,
            clock=town.clock,
        )

    def note(self, text=TEXT, subject=SUBJECT, **more):
        self.conditions.note(KIND, subject, text, **more)

    def tick(self):
        pulled = self.map.pull(self.town.node, UNTIL)
        self.conditions.settle()
        self.map.push(self.town.node, pulled, UNTIL)

    def reported(self):
        return [(event.level, event.kind, event.text) for event in self.events.newest()][::-1]


class Town:
    """Workers that share one node."""

    def __init__(self):
        self.clock, self.node = FakeClock(), FakeNode("n1")
        self.workers, self.living = [], set()

    def worker(self):
        made = Worker(self, f"worker-{len(self.workers) + 1}")
        self.workers.append(made)
        self.living.add(made.name)
        return made

    def tick(self, times=1):
        for _ in range(times):
            for worker in self.workers:
                worker.tick()
                self.clock.advance(0.1)

    def reported(self):
        return [words for worker in self.workers for words in worker.reported()]

    def lasting(self):
        return [(found.subject, found.text) for found in self.workers[-1].conditions.lasting()]


@pytest.fixture
def town():
    return Town()


BEGUN, OVER = ("warning", KIND, TEXT), ("info", f"{KIND}_over", f"over: {TEXT}")


# -- one event for the fleet ---------------------------------------------------------------------


def test_a_condition_that_several_workers_find_is_one_event_at_its_begin_and_one_at_its_end(town):
    for worker in (town.worker(), town.worker(), town.worker()):
        worker.note()
    town.tick(5)
    assert (town.reported(), town.lasting()) == ([BEGUN], [(SUBJECT, TEXT)])

    for worker in town.workers:
        worker.note(None)
    town.tick(ROUNDS + 3)

    assert sorted(town.reported()) == sorted([BEGUN, OVER])
    assert town.lasting() == []


def test_a_condition_that_workers_find_at_the_same_time_is_reported_by_one(town):
    one, other = town.worker(), town.worker()
    for worker in (one, other):
        worker.note()
    # Both read the node before either of them writes it.
    pulled = [worker.map.pull(town.node, UNTIL) for worker in (one, other)]
    for worker, found in zip((one, other), pulled, strict=True):
        worker.conditions.settle()
        worker.map.push(town.node, found, UNTIL)

    town.tick(5)

    assert town.reported() == [BEGUN]


@pytest.mark.parametrize("over", [False, True], ids=["begins", "ends"])
def test_a_worker_that_is_late_by_whole_ticks_says_nothing_that_another_one_has_said(town, over):
    late, other = town.worker(), town.worker()
    for worker in town.workers:
        worker.note()
    if over:
        town.tick(3)
        for worker in town.workers:
            worker.note(None)
        town.tick(ROUNDS - 1)
        late.tick()
    # Between its look at the node and what it does then, the other one finds the same and says it.
    pulled = late.map.pull(town.node, UNTIL)
    before = len(other.reported())
    while len(other.reported()) == before:
        other.tick()
    town.clock.advance(1)
    late.conditions.settle()
    late.map.push(town.node, pulled, UNTIL)

    town.tick(ROUNDS + 3)

    assert sorted(town.reported()) == sorted([BEGUN, OVER] if over else [BEGUN])
    assert town.lasting() == ([] if over else [(SUBJECT, TEXT)])


def test_a_condition_that_begins_and_ends_between_two_ticks_is_not_reported(town):
    worker = town.worker()
    worker.note()
    worker.note(None)

    town.tick(5)

    assert town.reported() == []


# -- who answers for an entry --------------------------------------------------------------------


def test_a_condition_lasts_as_long_as_any_worker_finds_it(town):
    one, other = town.worker(), town.worker()
    one.note()
    town.tick(2)
    other.note()
    one.note(None)
    town.tick(10)
    assert (town.reported(), town.lasting()) == ([BEGUN], [(SUBJECT, TEXT)])

    other.note(None)
    town.tick(ROUNDS + 3)

    assert town.reported() == [BEGUN, OVER]


def test_a_condition_of_a_dead_worker_is_taken_over_by_one_that_finds_it(town):
    one, other = town.worker(), town.worker()
    one.note()
    town.tick(2)
    other.note()
    town.workers.remove(one)
    town.living.discard(one.name)

    town.tick(10)

    assert (other.reported(), town.lasting()) == ([], [(SUBJECT, TEXT)])


def test_a_condition_that_only_a_dead_worker_found_is_over_after_some_ticks(town):
    one, other = town.worker(), town.worker()
    one.note()
    town.tick(2)
    town.workers.remove(one)
    town.living.discard(one.name)

    town.tick(ROUNDS - 1)
    assert town.lasting() == [(SUBJECT, TEXT)]
    town.tick(3)

    assert (other.reported(), town.lasting()) == ([OVER], [])


def test_without_ticks_a_worker_is_believed_to_live_for_a_day(town):
    one, other = town.worker(), town.worker()
    town.living = None
    one.note()
    one.tick()
    for _ in range(10):
        other.tick()
    assert town.lasting() == [(SUBJECT, TEXT)]

    town.clock.advance(25 * 3600)
    for _ in range(ROUNDS + 1):
        other.tick()

    assert town.lasting() == []


# -- bounds, and what others write ---------------------------------------------------------------


def test_no_tick_writes_while_nothing_changes(town):
    for worker in (town.worker(), town.worker()):
        worker.note()
    town.tick(3)
    town.node.operations.clear()
    for number in range(5):
        for worker in town.workers:
            worker.note(f"{TEXT}, {number} sessions")
        town.tick()

    assert town.node.operations == []
    assert town.lasting() == [(SUBJECT, TEXT)]


def test_the_number_of_conditions_is_bounded_in_a_worker_and_in_the_fleet(town):
    for number, worker in enumerate((town.worker(), town.worker())):
        for subject in range(MOST + 10):
            worker.note(subject=f"n{number}-{subject}")

    town.tick(3)

    assert len(town.lasting()) == MOST


def test_texts_and_subjects_are_bounded_and_have_no_control_characters(town):
    town.worker().note("\x1b[31m" + "x" * 10_000, subject="n\r\n1" * 1000)

    town.tick(2)

    ((subject, text),) = town.lasting()
    assert len(subject) <= 100
    assert len(text) <= MAX_TEXT
    assert (subject + text).isprintable()


@pytest.mark.parametrize(
    "raw",
    [b"", b"[]", b"\xff", b"1", b"[" * 10_000, b'{"text": 7, "since": 1e999, "node": []}'],
)
def test_an_entry_that_cannot_be_read_hides_no_condition(town, raw):
    worker = town.worker()
    worker.map.put(f"{PREFIX}{KIND}:odd", raw)
    worker.note()

    town.tick(ROUNDS + 3)

    assert (SUBJECT, TEXT) in town.lasting()


# -- through the tick ----------------------------------------------------------------------------


def lines(caplog, level=logging.WARNING):
    return [
        record.getMessage()
        for record in caplog.records
        if record.name == "flask_msm.events"
        and record.levelno == level
        and record.getMessage().startswith("node_")
    ]


def evicting(crew, node="n1", by=1):
    statistics = crew.nodes[node].said
    statistics["evictions"] = str(int(statistics.get("evictions", 0)) + by)


@pytest.fixture
def crew(tmp_path):
    folder = tmp_path / "host"
    folder.mkdir(0o700)
    made = Crew(3, MSM_LOCAL_CACHE="filesystem", MSM_LOCAL_DIR=str(folder))
    for node in made.nodes.values():
        node.said.update(evictions="5", store_no_memory="0")
    made.tick()
    return made


def test_evictions_of_a_node_are_reported_once_with_what_to_do_and_their_end_too(crew, caplog):
    caplog.set_level(logging.INFO, "flask_msm.events")
    for _ in range(6):
        evicting(crew)
        crew.tick()

    events = [e for w in crew.workers for e in w.state.parts.events.newest() if "evict" in e.kind]
    assert [(event.kind, event.node) for event in events] == [("node_evicts", "n1")]
    (line,) = lines(caplog)
    assert "n1" in line
    assert "more memory (-m)" in line
    status = crew.workers[0].app.test_cli_runner().invoke(args=["msm", "status"])
    assert "n1 has no memory left" in status.output
    assert status.exit_code == 0

    crew.clock.advance(QUIET)
    for _ in range(ROUNDS + 4):
        crew.tick()

    assert [line.split(":")[0] for line in lines(caplog)] == ["node_evicts", "node_evicts_over"]
    status = crew.workers[0].app.test_cli_runner().invoke(args=["msm", "status"])
    assert "no memory" not in status.output


def test_a_node_whose_connections_are_short_again_and_again_is_reported_once(crew, caplog):
    said = crew.nodes["n1"].said
    said["max_connections"] = "40"
    for _ in range(ROUNDS):
        for taken in ("36", "20", "20", "20", "20"):
            said["curr_connections"] = taken
            crew.tick()

    (line,) = lines(caplog)
    assert line.startswith("node_connections: n1 has nearly all")


def test_a_node_that_is_full_is_reported_once_by_name(crew, caplog):
    for number in range(1, 4):
        crew.nodes["n2"].said["store_no_memory"] = str(number)
        crew.tick()

    (line,) = lines(caplog)
    assert line.startswith("node_full: n2 is full")
    shown = crew.workers[1].app.test_cli_runner().invoke(args=["msm", "status", "--json"])
    (condition,) = json.loads(shown.output)["conditions"]
    assert (condition["kind"], condition["node"]) == ("node_full", "n2")


def test_evictions_before_a_worker_started_and_a_restart_are_not_reported(crew, caplog):
    crew.nodes["n1"].said["evictions"] = "0"  # restarted
    crew.tick()
    crew.workers.append(crew.hire())
    for _ in range(3):
        crew.tick()

    assert lines(caplog) == []


def test_a_host_that_starts_while_it_lasts_logs_it_once_for_all_its_workers(crew, caplog, tmp_path):
    evicting(crew)
    for _ in range(3):
        crew.tick()
    caplog.clear()

    (tmp_path / "another").mkdir(0o700)
    crew._config["MSM_LOCAL_DIR"] = str(tmp_path / "another")
    late = [crew.hire() for _ in range(3)]
    for _ in range(4):
        crew.tick(*crew.workers, *late)

    assert len(lines(caplog)) == 1


def test_a_worker_that_is_started_again_on_a_host_does_not_log_it_again(crew, caplog):
    evicting(crew)
    for _ in range(3):
        crew.tick()
    caplog.clear()

    crew.workers = [crew.hire()]
    for _ in range(2):
        crew.tick()

    assert lines(caplog) == []


def test_an_error_that_lasts_is_not_all_well(crew):
    crew.workers[0].cluster.conditions.note("two_names", "n1", "n1 and n2 are one", error=True)
    crew.tick()
    crew.tick()

    status = crew.workers[1].app.test_cli_runner().invoke(args=["msm", "status"])

    assert status.exit_code == 1
    assert "error          n1 and n2 are one (for" in status.output
