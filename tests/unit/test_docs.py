"""What the documentation has from the code is whole, and what it names exists."""

from __future__ import annotations

import ast
import importlib.util
import re
from pathlib import Path

import click
import pytest
import yaml

from flask_msm.cluster.event_kinds import EVENT_KINDS
from flask_msm.operations.snapshot import COUNTED
from flask_msm.settings.settings import setting_docs


ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
KINDS = {kind for kinds in EVENT_KINDS.values() for kind in kinds}


def load(name):
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def read(path):
    return (ROOT / path).read_text(encoding="utf-8")


def test_every_page_that_is_made_has_its_mark():
    marks = re.findall(
        r"<!-- made by docs/(\w+)\.py -->", "".join(map(Path.read_text, DOCS.glob("*.md")))
    )

    assert sorted(marks) == sorted(
        ["settings_page", "api_page", "commands_page", "events_page", "diagrams"]
    )


def test_every_setting_has_its_heading_type_default_and_range():
    page = load("settings_page").page()

    for doc in setting_docs():
        entry = page.partition(f"### {doc.key}\n")[2].partition("\n### ")[0]
        assert "- Type: " in entry, doc.key
        assert f"- Default: `{doc.default}`" in entry
        assert f"- Allowed: {doc.allowed}" in entry


def test_every_count_of_a_worker_and_every_kind_of_event_is_on_the_page():
    page = load("events_page").page()

    meanings = {**COUNTED}
    for kinds in EVENT_KINDS.values():
        meanings |= kinds
    for name, meaning in meanings.items():
        assert f"| `{name}` | {meaning} |" in page


def test_every_metric_that_the_alerts_ask_for_is_on_the_page():
    page = load("events_page").page()

    for name in re.findall(r"flask_msm_(\w+)", read("contrib/prometheus/alerts.yml")):
        assert f"| `{name.removesuffix('_bucket').removesuffix('_count')}` |" in page, name


def test_every_command_is_on_the_page():
    from flask_msm.operations.command_group import msm_commands

    page = load("commands_page").page()
    names = msm_commands.list_commands(click.Context(msm_commands))
    blacklist = msm_commands.commands["blacklist"]
    for name in (*names, *(f"blacklist {name}" for name in blacklist.commands)):
        assert f"### msm {name}\n" in page, name


def test_everything_public_has_a_docstring():
    module = load("api_page")

    for name, members in module.NAMES.items():
        for member in members:
            found = getattr(importlib.import_module(name), member)
            assert getattr(found, "__doc__", None), f"{name}.{member}"
    assert "MemcachedSessionManager" in module.page()


CALLS = {"add", "note", "_say", "_report", "report", "_write_down", "_carry_out", "note_refusal"}


def kinds_in(source):
    """Yield each word in *source* that is handed on as the kind of an event."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") in CALLS:
            for found in node.args[:2]:
                if isinstance(found, ast.Constant) and re.fullmatch(
                    r"[a-z]+(_[a-z]+)+", str(found.value)
                ):
                    yield found.value


def test_every_kind_of_event_is_in_the_table():
    source = [path.read_text(encoding="utf-8") for path in (ROOT / "flask_msm").rglob("*.py")]
    used = {kind for text in source for kind in kinds_in(text)}
    for names in re.findall(
        r"^(?:FOREIGN|KEPT|LATE|CUT|REFUSED|HOST_CLOCK|NODE_CLOCK)[^=]*= (.+)$",
        "\n".join(source),
        re.MULTILINE,
    ):
        used |= set(re.findall(r'"(\w+)"', names))

    assert len(used) > 20
    assert {kind for kind in used if kind not in KINDS} == set()


def test_the_table_has_no_kind_that_is_not_used():
    source = "".join(
        path.read_text(encoding="utf-8")
        for folder in ("flask_msm", "dashboard")
        for path in (ROOT / folder).rglob("*.py")
        if path.name != "event_kinds.py"
    )
    made = re.compile(r"(node|mode|rebuild|drain|policy|on_reconnect|distribution)_\w+")

    assert {k for k in KINDS if f'"{k}"' not in source and not made.fullmatch(k)} == set()


@pytest.mark.parametrize(
    "alert",
    [
        rule["alert"]
        for group in yaml.safe_load(read("contrib/prometheus/alerts.yml"))["groups"]
        for rule in group["rules"]
    ],
)
def test_every_alert_has_its_runbook(alert):
    assert f"\n### {alert}\n" in read("docs/failures.md")


def test_every_cause_that_the_dashboard_shows_has_a_line_of_what_to_do():
    found = {
        code
        for path in (ROOT / "flask_msm/operations/state/attention").glob("*.py")
        for code in re.findall(r'code="(\w+)"', path.read_text(encoding="utf-8"))
    }

    assert len(found) > 10
    for code in found:
        assert f"| `{code}` |" in read("docs/failures.md"), code


def test_every_test_that_a_promise_names_exists():
    tests = Path(__file__).parents[1]
    there = {
        name
        for path in tests.rglob("*.py")
        for name in re.findall(r"^def (test_\w+)\(", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    there |= {path.name for path in tests.rglob("test_*.py")}
    named = set(re.findall(r"`(?:[\w/]+/)?(test_\w+(?:\.py)?)`", read("tests/PROMISES.md")))

    assert len(named) > 50
    assert named <= there


def test_no_page_for_users_names_a_test():
    for page in DOCS.glob("*.md"):
        text = page.read_text(encoding="utf-8")
        assert not re.findall(r"`(?:[\w/]+/)?test_\w+(?:\.py)?`", text), page
