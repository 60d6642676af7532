"""A change by an operator is one line of the log of each host, in whichever worker it was made."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest
from support.crew import BY, Crew
from support.policies import visit, write

from flask_msm.cluster.control import ANNOUNCED
from flask_msm.maintenance.audit_log import RECENT


@pytest.fixture
def crew_in(tmp_path):
    """Return a crew whose workers share the folders that are named, one host each."""

    def make(*hosts):
        crew = Crew(0)
        crew.workers = [
            crew.hire(MSM_LOCAL_CACHE="filesystem", MSM_LOCAL_DIR=str(tmp_path / host))
            for host in hosts
        ]
        crew.tick()
        crew.tick()
        return crew

    return make


@pytest.fixture
def audit(caplog):
    caplog.set_level(logging.WARNING)

    def lines():
        return [line.getMessage() for line in caplog.records if line.name == "flask_msm.audit"]

    return SimpleNamespace(lines=lines, clear=caplog.clear)


def ticks(crew, count=4):
    for _ in range(count):
        crew.tick()


def test_a_change_by_a_worker_is_logged_once_by_the_workers_of_its_host(crew_in, audit):
    crew = crew_in("north", "north", "north")

    crew.workers[0].console.set_policy("local", **BY)
    ticks(crew)

    (line,) = audit.lines()
    assert line.startswith("policy_changed: policy: ")
    assert line.endswith("by anna (a test); told to n1, n2")


def test_a_change_is_logged_by_each_other_host_as_well(crew_in, audit):
    crew = crew_in("north", "north", "south", "south")

    crew.workers[0].console.set_policy("local", **BY)
    ticks(crew)

    first, second = audit.lines()
    assert first == f"{second}; told to n1, n2"


def test_each_host_logs_a_change_that_a_command_line_made_once(crew_in, audit):
    crew = crew_in("north", "north", "south")
    visitor = crew.hire()
    visitor.console.visit()

    visitor.console.drain("n1", **BY, force=True)
    assert audit.lines() == []
    ticks(crew)

    assert len(audit.lines()) == 2
    assert set(audit.lines()) == {"node_drained: n1 is being drained, by anna (a test)"}


def test_a_change_that_a_command_line_made_is_one_event_of_the_fleet(crew_in):
    crew = crew_in("north", "north", "south")
    visitor = crew.hire()
    visitor.console.visit()
    crew.workers[1].console.set_policy("local", **BY)

    done = visitor.console.drain("n1", **BY, force=True)
    ticks(crew)

    for worker in [*crew.workers, visitor]:
        found = [one for one in worker.console.survey().events if one.actor]
        event, other = found
        assert (event.id, event.node, event.level) == (done.event, "n1", "info")
        assert (event.actor, event.reason) == ("anna", "a test")
        assert (event.before, event.after) == ("in use", "draining")
        assert event.text == "n1 is being drained, by anna (a test)"
        assert abs(event.at - crew.clock.time()) < 60
        assert other.kind == "policy_changed"


def test_workers_that_start_again_log_no_change_again(crew_in, audit):
    crew = crew_in("north", "north")
    crew.workers[0].console.set_policy("local", **BY)
    ticks(crew)
    audit.clear()

    crew.workers = crew_in("north").workers
    ticks(crew)

    assert audit.lines() == []


def test_a_new_host_logs_what_was_changed_lately_and_nothing_older(crew_in, audit, tmp_path):
    crew = crew_in("north")
    crew.workers[0].console.set_policy("local", **BY)
    crew.clock.advance(RECENT)
    crew.workers[0].console.set_policy("raise", **BY)
    ticks(crew)
    audit.clear()

    crew.workers.append(
        crew.hire(MSM_LOCAL_CACHE="filesystem", MSM_LOCAL_DIR=str(tmp_path / "south"))
    )
    ticks(crew)

    (line,) = audit.lines()
    assert "local -> raise" in line


def test_only_the_newest_changes_are_shared(crew_in):
    crew = crew_in("north")
    control = crew.workers[0].cluster.control

    for number in range(ANNOUNCED + 3):
        control.announce(f"line {number}")

    texts = {line for _, line in control.announced().values()}
    assert texts == {f"line {number}" for number in range(3, ANNOUNCED + 3)}


def test_a_session_that_a_command_line_ended_is_logged_by_the_workers(crew_in, audit):
    crew = crew_in("north")
    _, cookie = visit(crew.workers[0], write(cart=1), None)
    visitor = crew.hire()
    visitor.console.visit()

    visitor.console.revoke(visitor.console.lookup(cookie, actor="anna", reason="").handle, **BY)
    ticks(crew)

    (line,) = audit.lines()
    assert line.startswith("revoked: session ")
