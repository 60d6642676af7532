"""The command line as people know it: JSON, terminals that are asked, waiting, single sessions."""

from __future__ import annotations

import json
import os

import click
import pytest
from click.testing import CliRunner
from flask.sessions import SecureCookieSessionInterface
from support.crew import BY, Crew
from support.policies import visit, write

from flask_msm.__main__ import main
from flask_msm.operations import cli
from flask_msm.operations.cli_frame import complete_nodes, operator
from flask_msm.operations.command_group import msm_commands
from flask_msm.operations.observer import REFRESH
from flask_msm.operations.state.document import document


@pytest.fixture
def crew():
    made = Crew(2, nodes=3)
    made.tick()
    made.tick()
    return made


@pytest.fixture
def run(crew):
    def run(*arguments, **more):
        return crew.hire().app.test_cli_runner().invoke(args=["msm", *arguments], **more)

    return run


def as_json(result):
    return json.loads(result.output)


def test_an_extension_that_took_the_sessions_over_is_named(crew, run):
    app = crew.hire().app
    assert "Warning" not in run("status").stderr
    app.session_interface = SecureCookieSessionInterface()

    shown = app.test_cli_runner().invoke(args=["msm", "status", "--json"])

    assert "kept by flask.sessions.SecureCookieSessionInterface, which was set" in shown.stderr
    assert "verdict" in json.loads(shown.stdout)


@pytest.mark.parametrize("command", ["status", "workers", "nodes", "check"])
def test_a_command_line_with_another_key_than_the_workers_says_so(crew, command):
    shown = crew.hire(SECRET_KEY="another").app.test_cli_runner().invoke(args=["msm", command])

    assert "cannot be read here: give this command line SECRET_KEY" in shown.stderr


def test_a_change_with_another_key_than_the_workers_is_not_blamed_on_nodes(crew):
    runner = crew.hire(SECRET_KEY="another").app.test_cli_runner()

    refused = runner.invoke(args=["msm", "policy", "local"])

    assert refused.exit_code == 3
    assert "Error: what nodes hold cannot be read here, nothing was changed" in refused.stderr
    assert "give this command line SECRET_KEY" in refused.stderr


# -- answers for programs ------------------------------------------------------------------------


@pytest.mark.parametrize("how", [("--json",), ("-o", "json"), ("-ojson",), ("--output=json",)])
def test_status_for_programs_is_the_document_of_the_api(crew, run, how):
    shown = as_json(run("status", *how))

    visitor = crew.hire()
    visitor.console.visit()
    expected = document(visitor.console.survey(), poll_after=REFRESH)
    assert shown.keys() == expected.keys()
    assert shown["verdict"] == expected["verdict"]
    assert shown["nodes"] == expected["nodes"]
    assert shown["workers"] == expected["workers"]


@pytest.mark.parametrize("command", ["nodes", "workers"])
def test_a_list_for_programs_is_that_part_of_the_document(run, command):
    assert as_json(run(command, "--json"))[command] == as_json(run("status", "--json"))[command]


@pytest.mark.parametrize(
    ("arguments", "code", "exit_code"),
    [
        (("drain", "n9"), "usage", 2),
        (("policy", "maybe"), "usage", 2),
        (("status", "--colour"), "usage", 2),
        (("drain",), "usage", 2),
        (("silence",), "usage", 2),
        (("silence", "n1"), "usage", 2),
        (("silence", "n1", "--note", "why", "--for", "8d"), "usage", 2),
        (("blacklist", "clear"), "usage", 2),
        (("revoke", "0" * 10), "usage", 2),
    ],
)
def test_a_mistake_of_a_program_is_answered_with_json(run, arguments, code, exit_code):
    refused = run(*arguments, "-o", "json")

    assert refused.exit_code == exit_code
    error = as_json(refused)["error"]
    assert error["code"] == code
    assert error["text"]


def test_a_change_that_reached_no_node_says_so_to_programs_and_exits_with_3(crew, run):
    crew.outage()

    refused = run("policy", "local", "--json")

    assert refused.exit_code == 3
    assert as_json(refused)["error"]["code"] == "unreached"


def test_a_policy_that_only_this_host_hears_of_exits_with_3(crew, tmp_path):
    host = {"MSM_LOCAL_CACHE": "filesystem", "MSM_LOCAL_DIR": str(tmp_path)}
    worker = crew.hire(**host)
    crew.tick(worker)
    crew.outage()

    told = crew.hire(**host).app.test_cli_runner().invoke(args=["msm", "policy", "local"])

    assert told.exit_code == 3
    assert "Told to no node" in told.output


# -- before harm ---------------------------------------------------------------------------------


def test_a_drain_that_leaves_fewer_nodes_than_copies_is_refused_unless_forced(crew, run):
    assert run("drain", "n1").exit_code == 0

    refused = run("drain", "n2")

    assert refused.exit_code == 2
    assert "1 node is left for 2 copies" in refused.output
    assert run("drain", "n2", "--force").exit_code == 0


def test_a_node_in_use_that_is_taken_back_is_not_called_filled(run):
    done = run("undrain", "n1")

    assert done.exit_code == 0
    assert "n1 was in use already; 'flask msm check' says whether it is up." in done.output


def test_a_time_that_cannot_be_read_is_named_with_what_can_be(run):
    refused = run("silence", "n1", "--for", "1x", "--note", "new disk")

    assert refused.exit_code == 2
    assert "'1x' is not a time: 30s, 15m, 1h or 2d" in refused.output


def test_a_node_is_silenced_with_a_note_shown_by_status_and_given_back(run):
    done = run("silence", "n1", "--for", "2h", "--note", "new disk", "--as", "anna")
    shown = run("status")
    over = run("unsilence", "n1")

    assert done.exit_code == over.exit_code == 0
    assert "n1 is silenced until " in done.output
    assert " UTC by anna: new disk" in shown.output
    assert "silenced" not in run("status").output


def test_a_dry_run_says_what_follows_and_changes_nothing(crew, run):
    before = {name: dict(node.items) for name, node in crew.nodes.items()}

    for arguments in (
        ("drain", "n1"),
        ("stop",),
        ("policy", "raise"),
        ("blacklist", "clear", "--all"),
    ):
        shown = run(*arguments, "--dry-run")
        assert shown.exit_code == 0
        assert "Nothing was changed" in shown.output

    assert {name: dict(node.items) for name, node in crew.nodes.items()} == before


def test_without_a_terminal_nothing_is_asked(run):
    assert run("stop").exit_code == 0


def test_what_hurts_is_asked_at_a_terminal(crew, run, monkeypatch):
    asked = []

    def confirm(text, **_):
        asked.append(text)
        raise KeyboardInterrupt

    monkeypatch.setattr("flask_msm.operations.cli_frame.is_terminal", lambda: True)
    monkeypatch.setattr("click.confirm", confirm)

    for arguments in (("stop",), ("drain", "n1"), ("blacklist", "clear", "--all")):
        run(*arguments)
    assert len(asked) == 3
    assert run("stop", "--yes").exit_code == 0
    assert run("resume").exit_code == 0
    assert run("blacklist", "clear", "cart").exit_code == 0
    assert len(asked) == 3


# -- who, and when all obey ----------------------------------------------------------------------


def test_a_change_has_the_user_and_the_host_or_the_name_that_was_given(run):
    run("policy", "local")
    assert f"chosen by {operator()}" in run("policy").output

    run("policy", "raise", "--as", "anna")
    assert "chosen by anna" in run("policy").output


@pytest.mark.parametrize(
    "commands",
    [
        "policy local, policy config",
        "drain n1, undrain n1",
        "silence n1 --for 1h --note disk, unsilence n1",
        "blacklist pin cart, blacklist unpin cart",
    ],
)
def test_waiting_ends_when_all_workers_obey(crew, run, monkeypatch, commands):
    monkeypatch.setattr("flask_msm.operations.cli_frame.time.sleep", lambda _: crew.tick())

    for command in commands.split(", "):
        done = run(*command.split(), "--wait", "--timeout", "20")

        assert done.exit_code == 0, done.output
        assert "Obeyed by 2 of 2 workers." in done.output


def test_waiting_in_vain_exits_with_1(run):
    done = run("policy", "local", "--wait", "--timeout", "0", "--json")

    assert done.exit_code == 1
    assert (as_json(done)["obeyed_by"], as_json(done)["workers"]) == (0, 2)


# -- what happened, single sessions, watching ----------------------------------------------------


def test_events_are_those_of_the_time_that_was_given(crew, run):
    crew.clock.advance(7200)
    crew.workers[0].console.set_policy("local", **BY)
    crew.tick()

    texts = [event["text"] for event in as_json(run("events", "--since", "1h", "--json"))["events"]]

    assert any("policy: raise -> local" in text for text in texts)
    assert not any("has all its sessions" in text for text in texts)
    assert "has all its sessions" in run("events", "--since", "1d").output
    assert run("events", "--since", "soon").exit_code == 2


def test_history_has_the_changes_of_operators_and_a_sum(crew, run):
    crew.workers[0].console.set_policy("local", **BY)
    for _ in range(3):
        crew.tick()

    shown = run("history")

    assert shown.exit_code == 0
    assert "sessions lost" in shown.output
    assert as_json(run("history", "--json", "--range", "7d"))["range"] == "7d"


def test_following_shows_each_event_once(crew, run, monkeypatch):
    looks = []

    def pause(_):
        looks.append(True)
        if len(looks) == 2:
            raise KeyboardInterrupt
        crew.workers[0].console.set_policy("local", **BY)
        crew.tick()

    monkeypatch.setattr(cli.time, "sleep", pause)

    shown = run("events", "--follow")

    assert shown.exit_code == 0
    lines = shown.output.splitlines()
    assert len(lines) == len(set(lines))
    assert "policy: raise -> local" in lines[-1] or "policy" in shown.output


def test_watching_looks_again_until_it_is_interrupted(run, monkeypatch):
    looks = []

    def pause(_):
        looks.append(True)
        if len(looks) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(cli.time, "sleep", pause)

    shown = run("status", "-w")

    assert shown.exit_code == 0
    assert shown.output.count("all is well") == 3


def test_a_session_is_looked_up_and_ended_by_its_ref_and_by_its_cookie(crew, run):
    _, cookie = visit(crew.workers[0], write(cart=[1]), None)
    ref = as_json(run("session", "-", "--json", input=f"{cookie}\n"))["session"]["ref"]

    shown = run("session", ref)
    assert shown.exit_code == 0
    assert "cart" in shown.output
    ended = run("revoke", ref, "--reason", "stolen laptop")

    assert ended.exit_code == 0
    assert f"session {ref} was ended" in ended.output
    assert "Ended" in run("session", ref).output


def test_a_session_that_does_not_exist_exits_with_1(run):
    assert run("session", "0" * 10).exit_code == 1


# -- help ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [(), ("blacklist",)])
def test_no_text_of_the_help_is_cut(run, arguments):
    shown = run(*arguments, "-h")

    assert shown.exit_code == 0
    assert "..." not in shown.output.replace("[ARGS]...", "")


def test_every_command_has_h_for_help(run):
    for name in msm_commands.list_commands(click.Context(msm_commands)):
        assert run(name, "-h").exit_code == 0, name


def test_a_shell_completes_the_ids_of_nodes(crew):
    app = crew.hire().app

    class Context:
        def ensure_object(self, _):
            return self

        def load_app(self):
            return app

    assert complete_nodes(Context(), None, "n") == ["n1", "n2", "n3"]
    assert complete_nodes(Context(), None, "x") == []


# -- without the application ---------------------------------------------------------------------


SETTINGS = """
APP_NAME = "shop"
SECRET_KEY = "s3cret"
MSM_NODES = "n1:127.0.0.1:1"
MSM_CONNECT_TIMEOUT = 0.05
"""


def with_file(tmp_path, text, *arguments, mode=0o600):
    file = tmp_path / "msm.toml"
    file.write_text(text, encoding="utf-8")
    file.chmod(mode)
    return CliRunner().invoke(main, ["--config", str(file), *arguments])


def test_the_commands_run_with_a_file_of_settings(tmp_path):
    shown = with_file(tmp_path, SETTINGS, "nodes")

    assert shown.exit_code == 0
    assert "n1" in shown.output
    assert as_json(with_file(tmp_path, SETTINGS, "status", "--json"))["app"] == "shop"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_file_that_others_may_read_is_refused(tmp_path, mode):
    refused = with_file(tmp_path, SETTINGS, "nodes", mode=mode)

    assert refused.exit_code == 2
    assert f"others may read it ({mode:04o})" in refused.output
    assert "s3cret" not in refused.output


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("SECRET_KEY = s3cret", "is not TOML"),
        (SETTINGS + "DEBUG = true", "DEBUG is not known"),
        (SETTINGS + "MSM_NODE = 1", "MSM_NODE"),
        ('SECRET_KEY = "s3cret"', "APP_NAME is missing"),
    ],
)
def test_a_file_that_is_wrong_is_refused_without_its_secrets(tmp_path, text, says):
    refused = with_file(tmp_path, text, "nodes")

    assert refused.exit_code == 2
    assert says in refused.output
    assert "s3cret" not in refused.output


def test_a_file_that_is_not_there_is_named(tmp_path):
    refused = CliRunner().invoke(main, ["--config", os.fspath(tmp_path / "no.toml"), "nodes"])

    assert refused.exit_code == 2
    assert "no.toml" in refused.output
