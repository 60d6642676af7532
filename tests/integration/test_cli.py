"""``flask msm ...`` as an operator types it, on real memcached processes."""

from __future__ import annotations

import json
import threading

import pytest
from flask import Flask
from support.cli_operator import Operator
from support.patience import NOTICES
from support.sites import flask

from flask_msm import MemcachedSessionManager
from flask_msm.cluster.health import NodeState
from flask_msm.testing.memcached import free_port


pytestmark = pytest.mark.memcached


@pytest.fixture
def operator_of(memcached):
    made = []

    def make(count=3, **config):
        made.append(Operator([memcached() for _ in range(count)], **config))
        return made[-1]

    yield make
    for operator in made:
        operator.close()


@pytest.fixture
def operator(operator_of):
    made = operator_of()
    made.work()
    return made


def rows(result):
    """Return what was printed of each node."""
    lines = [line.split(maxsplit=1) for line in result.output.splitlines()]
    return {line[0]: line[1] for line in lines if line and line[0] in ("n1", "n2", "n3")}


# -- check ---------------------------------------------------------------------------------------


def test_check_says_that_every_node_is_up(operator):
    result = operator.run("check")

    assert result.exit_code == 0
    assert rows(result) == dict.fromkeys(("n1", "n2", "n3"), "up")
    assert result.output.splitlines()[-1] == "safe to restart the next node"


def test_check_says_which_node_is_not_there(operator):
    operator.nodes[1].kill()

    result = operator.run("check")

    assert result.exit_code == 1
    assert rows(result)["n1"] == "up"
    assert "refused" in rows(result)["n2"]
    assert result.output.splitlines()[-1] == "do not restart a node now: see what is above"


def test_check_says_that_a_node_restarted_and_that_it_waits_for_its_rebuild(operator):
    operator.nodes[1].restart()
    unseen = operator.run("check")
    operator.cluster.monitor.tick()
    seen = operator.run("check")

    assert (unseen.exit_code, seen.exit_code) == (1, 1)
    assert rows(unseen)["n2"] == "no worker has seen it since it started"
    assert rows(seen)["n2"] == "waits to be filled"
    operator.settle()
    operator.wait_safe()
    assert operator.run("check", "--all-up").exit_code == 0


def test_check_says_when_nothing_answers(operator):
    for node in operator.nodes:
        node.kill()

    result = operator.run("check")

    assert result.exit_code == 1
    assert all("refused" in text for text in rows(result).values())
    assert "do not restart a node now: see what is above" in result.output
    assert "Traceback" not in result.output


def test_check_is_not_held_up_by_a_node_that_hangs(operator_of):
    operator = operator_of(**NOTICES)
    operator.work()
    operator.nodes[0].pause()
    try:
        # It would hang for as long as the node does.
        result = operator.run("check")
    finally:
        operator.nodes[0].resume()

    assert result.exit_code == 1
    assert rows(result)["n2"] == rows(result)["n3"] == "up"
    assert "up" not in rows(result)["n1"]


def test_check_before_the_first_worker_has_started_says_so(operator_of):
    result = operator_of().run("check")

    assert result.exit_code == 1
    assert set(rows(result).values()) == {"no worker has seen it since it started"}


def test_check_says_that_workers_use_different_nodes(operator):
    other = Operator(operator.nodes[:2])
    other.cluster.monitor.begin()
    try:
        result = operator.run("check")
    finally:
        other.close()

    assert result.exit_code == 1
    assert set(rows(result).values()) == {"workers use different nodes"}


def test_check_without_waiting_answers_at_once(operator):
    operator.nodes[0].kill()

    # Else it would wait for longer than a test may take.
    result = operator.run("check", "--timeout", "600")

    assert result.exit_code == 1


def test_waiting_for_all_nodes_ends_as_soon_as_they_are_up(operator):
    operator.nodes[0].restart()
    ended = threading.Event()

    def work():
        while not ended.is_set():
            operator.cluster.monitor.tick()
            ended.wait(0.05)

    worker = threading.Thread(target=work)
    worker.start()
    try:
        result = operator.run("check", "--all-up", "--timeout", "600")
    finally:
        ended.set()
        worker.join()

    assert result.exit_code == 0
    assert set(rows(result).values()) == {"up"}


def test_waiting_for_all_nodes_gives_up_in_time(operator):
    operator.nodes[0].kill()

    result = operator.run("check", "--all-up", "--timeout", "0.5")

    assert result.exit_code == 1
    assert "refused" in rows(result)["n1"]


@pytest.mark.parametrize("timeout", ["-1", "soon"])
def test_a_time_to_wait_that_is_none_is_a_mistake_of_the_user(operator, timeout):
    result = operator.run("check", "--all-up", "--timeout", timeout)

    assert result.exit_code == 2
    assert "--timeout" in result.output


def test_the_manager_answers_the_same_question(operator):
    app = operator.app()
    manager = MemcachedSessionManager()
    assert manager.check(app).all_up
    operator.nodes[2].kill()

    report = manager.check(app, timeout=0.3)

    assert not report.all_up
    assert [finding.up for finding in report.nodes] == [True, True, False]
    app.extensions["msm"].close()


# -- nodes ---------------------------------------------------------------------------------------


def test_nodes_are_listed_with_what_is_the_matter(operator):
    operator.nodes[2].kill()

    result = operator.run("nodes")

    assert result.exit_code == 0
    assert list(rows(result)) == ["n1", "n2", "n3"]
    assert rows(result)["n1"].startswith("up")
    assert "refused" in rows(result)["n3"]


def test_json_is_printed_for_programs(operator):
    operator.nodes[2].kill()

    answer = json.loads(operator.run("check", "--json").output)

    assert answer["all_up"] is False
    assert [node["node"] for node in answer["nodes"]] == ["n1", "n2", "n3"]
    assert [node["up"] for node in answer["nodes"]] == [True, True, False]
    assert answer["nodes"][0]["text"] == "up"


# -- drain and undrain ---------------------------------------------------------------------------


def test_a_node_is_drained_and_taken_back(operator):
    result = operator.run("drain", "n2", "--reason", "new disk")
    assert result.exit_code == 0
    assert "n2 is being drained" in result.output
    during = operator.run("check")
    assert (during.exit_code, rows(during)["n2"]) == (1, "is being drained")

    operator.tick_until("n2", NodeState.DRAINED)
    drained = operator.run("check")
    assert (drained.exit_code, rows(drained)["n2"]) == (0, "drained by an operator")

    result = operator.run("undrain", "n2")
    assert result.exit_code == 0
    assert "n2 is taken back" in result.output
    after = operator.run("check")
    assert (after.exit_code, rows(after)["n2"]) == (1, "waits to be filled")
    operator.settle()
    operator.wait_safe()
    assert operator.run("check", "--all-up").exit_code == 0


def test_a_drained_node_may_be_switched_off(operator):
    operator.run("drain", "n2")
    operator.tick_until("n2", NodeState.DRAINED)
    operator.nodes[1].kill()

    result = operator.run("check")

    assert (result.exit_code, rows(result)["n2"]) == (0, "drained by an operator")


@pytest.mark.parametrize("command", ["drain", "undrain"])
def test_draining_answers_programs_as_well(operator, command):
    result = operator.run(command, "n2", "--json")

    assert result.exit_code == 0
    assert json.loads(result.output) == {
        "node": "n2",
        "drain": "draining" if command == "drain" else None,
        "told": ["n1", "n2", "n3"],
    }


def test_draining_a_drained_node_answers_that_it_is_drained(operator):
    operator.run("drain", "n2")
    operator.tick_until("n2", NodeState.DRAINED)

    result = operator.run("drain", "n2", "--json")

    assert json.loads(result.output)["drain"] == "drained"


@pytest.mark.parametrize(("how", "victim"), [("kill", 0), ("kill", 1), ("kill", 2), ("pause", 0)])
def test_a_node_that_does_not_answer_can_be_drained(operator_of, how, victim):
    operator = operator_of(**NOTICES)
    operator.cluster.monitor.begin()
    getattr(operator.nodes[victim], how)()
    try:
        result = operator.run("drain", f"n{victim + 1}")

        assert result.exit_code == 0, result.output
        operator.cluster.monitor.tick()
        assert operator.cluster.control.drains() == {f"n{victim + 1}": "draining"}
    finally:
        if how == "pause":
            operator.nodes[victim].resume()


# -- applications without a cluster --------------------------------------------------------------

COMMANDS = (("check",), ("nodes",), ("drain", "n1"), ("undrain", "n1"))


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_without_nodes_there_is_nothing_to_look_after(command):
    app = Flask("alone")
    app.config.update(SECRET_KEY="cli")
    MemcachedSessionManager(app)

    result = app.test_cli_runner().invoke(args=["msm", *command])

    assert result.exit_code == 2
    assert "MSM_NODES is not set" in result.output


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_an_application_that_switched_it_off_is_told_so(command):
    from flask_msm.operations.command_group import msm_commands

    app = Flask("off")
    app.config.update(SECRET_KEY="cli", MSM_ENABLED=False, MSM_NODES="n1:127.0.0.1:1")
    MemcachedSessionManager(app)
    app.cli.add_command(msm_commands)

    result = app.test_cli_runner().invoke(args=["msm", *command])

    assert result.exit_code == 2
    assert "does not keep its sessions in memcached" in result.output


# -- nothing is left behind ----------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_command_starts_no_thread_and_is_no_worker(operator, command):
    operator.cluster.monitor.tick()
    before = threading.enumerate()

    operator.run(*command)

    assert [thread for thread in threading.enumerate() if thread not in before] == []
    operator.cluster.monitor.tick()
    heartbeat = operator.cluster.workers
    assert set(heartbeat.shared.values("")) == {heartbeat.worker}


def test_a_check_writes_nothing_to_the_nodes(operator_of):
    operator = operator_of()
    operator.cluster.monitor.begin()
    before = [node.stats()["cmd_set"] for node in operator.nodes]

    operator.run("check")
    operator.run("nodes")

    assert [node.stats()["cmd_set"] for node in operator.nodes] == before


def run_process(config, tmp_path, *arguments):
    own = {"TMPDIR": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)}
    return flask(config, *arguments, folder=tmp_path, **own)


def test_a_process_of_its_own_answers_by_its_exit_code_and_leaves_no_file(operator_of, tmp_path):
    # The worker is not silent before the process has started, however long that takes.
    operator = operator_of(MSM_PROBE_INTERVAL=60, MSM_PROBE_MAX_BACKOFF=60)
    operator.work()
    config = operator.config
    up = run_process(config, tmp_path, "msm", "check", "--json")
    operator.nodes[0].kill()
    down = run_process(config, tmp_path, "msm", "check")
    wrong = run_process(config, tmp_path, "msm", "drain", "n9")

    assert (up.returncode, up.stderr) == (0, "")
    assert json.loads(up.stdout)["all_up"] is True
    assert (down.returncode, down.stderr) == (1, "")
    assert wrong.returncode == 2
    assert "there is no node 'n9'; there are n1, n2, n3" in wrong.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_process_says_without_a_trace_that_nothing_answers(tmp_path):
    nodes = f"n1:127.0.0.1:{free_port()} n2:127.0.0.1:{free_port()}"
    config = {"SECRET_KEY": "cli", "MSM_NODES": nodes}

    done = run_process(config, tmp_path, "msm", "check")
    refused = run_process(config, tmp_path, "msm", "drain", "n1", "--force")

    assert (done.returncode, done.stderr) == (1, "")
    assert "refused" in done.stdout
    assert refused.returncode == 3
    last = refused.stderr.splitlines()[-1]
    assert last == "Error: no node could be reached, nothing was changed"
    assert "Traceback" not in refused.stderr


def test_help_names_every_command(tmp_path):
    done = run_process({"SECRET_KEY": "cli"}, tmp_path, "msm", "--help")

    assert done.returncode == 0
    for name in ("status", "check", "nodes", "workers", "drain", "undrain", "policy", "stop"):
        assert f"  {name} " in done.stdout
