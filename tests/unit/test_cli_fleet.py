"""What ``flask msm`` prints of the fleet, and what it refuses: over nodes in memory."""

from __future__ import annotations

import json
import logging
import re
import threading

import pytest
from flask import session
from support.crew import Crew
from support.policies import visit, write

from flask_msm import destroy
from flask_msm.cluster.lost_sessions import Reason
from flask_msm.operations.cli_frame import operator
from flask_msm.record.keys import ref_of


@pytest.fixture
def crew():
    made = Crew(2, MSM_SERIALIZATION_POLICY="blacklist", MSM_BLACKLIST=["configured"])
    made.tick()
    made.tick()
    return made


@pytest.fixture
def run(crew):
    def run(*arguments):
        return crew.hire().app.test_cli_runner().invoke(args=["msm", *arguments])

    return run


@pytest.fixture
def listed(run):
    def listed():
        rows = json.loads(run("blacklist", "--json").output)["blacklist"]
        return {row["key"]: row for row in rows}

    return listed


def bad(crew, *names):
    for worker in crew.workers:
        visit(worker, write(**{name: threading.Lock() for name in names}), None)
    crew.tick()


def test_the_blacklist_of_all_workers_is_listed_however_long(crew, listed):
    names = [f"name {number}" for number in range(40)]
    bad(crew, *names)

    found = listed()

    assert set(found) == {*names, "configured"}
    assert {found[name]["count"] for name in names} == {2}
    assert {found[name]["workers"] for name in names} == {2}


def test_the_status_of_a_fleet_that_lost_sessions_says_since_when_who_is_hurt_and_what_to_do(
    crew, run
):
    for number in range(12):
        losing = crew.workers[number % 2]
        losing.state.repository.losses.note(Reason.NOT_FOUND, f"key {number}")
    crew.tick()

    result = run("status")

    lines = result.output.splitlines()
    (cause,) = [line for line in lines if "12 sessions are on no node" in line]
    assert cause.startswith("bad ")
    assert re.search(r", since \d{4}-\d\d-\d\dT[\d:.]+Z \(\d+ s\)$", cause)
    hurt, first, second = lines[lines.index(cause) + 1 :][:3]
    assert hurt.startswith("  who is hurt  12 users were signed out")
    assert first.startswith("  what to do   1. ")
    assert second.startswith("               2. ")
    assert result.exit_code == 1


def test_a_session_says_how_it_ended_at_the_command_line_as_on_the_page(crew, run):
    worker = crew.workers[0]
    worker.do(lambda: session.update(name="anna"))
    ref = ref_of(worker.key())
    worker.do(destroy)

    assert "Signed out by its owner at " in run("session", ref).output


def test_a_session_that_was_revoked_at_the_command_line_says_by_whom_and_why(crew, run):
    worker, other = crew.workers
    worker.do(lambda: session.update(name="anna"))
    ref = ref_of(worker.key())

    assert run("revoke", ref, "--reason", "stolen", "--as", "ann").exit_code == 0

    found = other.console.lookup(ref, actor="bob", reason="")
    assert (found.ended_by, found.ended_reason) == ("ann", "stolen")


def test_pins_are_listed_with_who_pinned_them(crew, run, listed):
    assert run("blacklist", "pin", "cart", "--reason", "a release").exit_code == 0
    crew.tick()

    found = listed()

    assert found["cart"]["pinned"]
    assert found["cart"]["added_by"] == operator()
    assert found["configured"]["added_by"] == "MSM_BLACKLIST"
    assert run("blacklist", "unpin", "cart").exit_code == 0
    assert set(listed()) == {"configured"}


def test_one_attribute_or_all_are_cleared(crew, run, listed):
    bad(crew, "a", "b")

    assert run("blacklist", "clear", "a").exit_code == 0
    crew.tick()
    assert set(listed()) == {"b", "configured"}
    cleared = run("blacklist", "clear", "--all")
    assert (cleared.exit_code, cleared.output.splitlines()[0]) == (0, "everything is forgotten.")
    crew.tick()
    assert set(listed()) == {"configured"}


def test_an_empty_name_is_no_order_to_clear_everything(crew, run, listed):
    """As a shell makes it of a variable that is not set."""
    bad(crew, "a")

    refused = run("blacklist", "clear", "")

    assert refused.exit_code == 2
    assert "a" in listed()


def test_a_pin_of_the_configuration_is_removed_in_the_configuration(run):
    refused = run("blacklist", "unpin", "configured")

    assert refused.exit_code == 2
    assert "MSM_BLACKLIST pins 'configured'" in refused.output


def test_names_with_control_characters_are_shown_escaped(crew, run, listed):
    nasty = "\x1b[2J\nroot\u202e"
    bad(crew, nasty, "x" * 10_240)

    output = run("blacklist").output

    assert "\\x1b[2J\\nroot\\u202e" in output
    assert all(line.isprintable() and len(line) <= 1002 for line in output.splitlines())
    assert nasty.split("\n", maxsplit=1)[0] in listed(), "the document has the first line"
    assert max(len(name) for name in listed()) <= 120


@pytest.mark.parametrize(
    ("arguments", "allowed"),
    [
        (("policy", "quantum"), ("raise", "local", "stop", "blacklist", "config")),
        (("policy", ""), ("raise", "blacklist")),
        (("on-reconnect", "maybe"), ("promote", "discard", "config")),
        (("probe", "n9"), ("n1, n2",)),
        (("drain", "n9"), ("n1, n2",)),
        (("undrain", "\x1b[31m"), ("n1, n2",)),
        (("blacklist", "wipe"), ("wipe",)),
        (("stop", "now"), ("now",)),
    ],
)
def test_a_wrong_argument_is_answered_with_what_is_allowed(run, arguments, allowed):
    refused = run(*arguments)

    assert refused.exit_code == 2
    assert all(word in refused.output for word in allowed)
    assert "\x1b" not in refused.output


@pytest.mark.parametrize("name", ["policy", "on-reconnect"])
def test_a_choice_is_shown_changed_and_taken_back(crew, run, name):
    value = {"policy": "local", "on-reconnect": "discard"}[name]
    configured = run(name).output

    told = json.loads(run(name, value, "--json").output)
    assert told == {name.replace("-", "_"): value, "told": ["n1", "n2"]}
    assert f"{value} (configured: " in run(name).output
    assert f"chosen by {operator()}" in run(name).output
    run(name, "config")
    assert run(name).output == configured


def test_status_says_when_all_is_well_and_when_not(crew, run):
    well = run("status")
    assert (well.exit_code, "all is well    yes" in well.output) == (0, True), well.output

    run("stop")
    crew.tick()
    crew.tick()

    stopped = run("status")
    assert stopped.exit_code == 1
    assert "2 stopped" in stopped.output
    assert f"stopped (chosen by {operator()}, applied by 2 of 2)" in stopped.output


def test_all_is_not_well_while_local_storage_fails(crew, run):
    crew.workers[0].state.parts.local.failing = "OSError: No space left on device"
    crew.tick()
    crew.tick()

    status = run("status")

    assert status.exit_code == 1
    assert "local storage  fails for 1 of 2 workers: OSError: No space left" in status.output


def test_without_a_secret_key_nothing_is_said_of_workers(crew):
    app = crew.hire().app
    app.secret_key = None

    refused = app.test_cli_runner().invoke(args=["msm", "status"])

    assert refused.exit_code == 2
    assert "SECRET_KEY is not set" in refused.output


def test_a_finding_of_a_command_is_printed_once_and_not_logged_as_news(crew, run, caplog):
    crew.nodes["n1"].fail()
    run("stop")
    crew.tick()
    caplog.clear()

    assert "n1" in run("nodes").output

    assert not [r for r in caplog.records if r.name == "flask_msm.events"]


def test_who_resumes_is_not_told_that_nodes_are_away(crew, run):
    run("stop")
    crew.tick()
    run("resume")
    crew.tick()

    texts = [event.text for event in crew.workers[0].state.parts.events.newest()]

    assert any("distribution goes on once a node answers" in text for text in texts)
    assert not any("no node can be reached" in text for text in texts)


def test_a_probe_answers_by_its_exit_code(crew, run):
    assert run("probe", "n1").exit_code == 0
    crew.nodes["n1"].fail()
    failed = run("probe", "n1", "--json")
    assert failed.exit_code == 1
    assert "NodeUnreachableError" in json.loads(failed.output)["error"]


def test_a_change_by_the_command_line_is_a_line_of_audit_of_each_host(crew, run, caplog):
    run("policy", "local", "--reason", "a release")
    for _ in range(4):
        crew.tick()

    lines = [line.getMessage() for line in caplog.records if line.name == "flask_msm.audit"]
    text = f"policy_changed: policy: blacklist -> local, by {operator()} (a release)"
    assert lines == [text] * len(crew.workers), "each has local storage of its own"


def test_a_change_that_no_node_and_no_folder_took_is_refused_and_no_line_of_audit(
    crew, run, caplog
):
    crew.outage()

    with caplog.at_level(logging.INFO, "flask_msm.audit"):
        refused = run("policy", "local")

    assert refused.exit_code == 3
    assert "Error: no node could be reached, nothing was changed" in refused.output
    assert not [line for line in caplog.records if line.name == "flask_msm.audit"]


def test_a_probe_by_the_command_line_is_a_line_of_audit(run, caplog):
    with caplog.at_level(logging.INFO, "flask_msm.audit"):
        shown = run("probe", "n1").output.strip()

    (line,) = [line.getMessage() for line in caplog.records if line.name == "flask_msm.audit"]
    assert line == f"probed: {shown}, by {operator()}"


def test_no_thread_is_started_and_no_worker_announced(crew, run):
    before = threading.enumerate()
    known = {name: set(node.items) for name, node in crew.nodes.items()}

    for arguments in (("status",), ("nodes",), ("workers",), ("blacklist",), ("policy", "local")):
        run(*arguments)

    assert threading.enumerate() == before
    assert {name: set(node.items) for name, node in crew.nodes.items()} == known
    assert crew.workers[0].console.observer.refresh().known == {w.name for w in crew.workers}
