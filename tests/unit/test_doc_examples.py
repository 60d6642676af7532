"""What the documentation shows can be run: its programs, its commands, the names it uses."""

from __future__ import annotations

import importlib.util
import logging
import re
import subprocess
import tomllib
from pathlib import Path

import click
import flask
import pytest
from flask import Flask

import flask_msm
from flask_msm.cluster.event_kinds import EVENT_KINDS
from flask_msm.operations.command_group import msm_commands
from flask_msm.settings.settings import Settings, setting_docs


ROOT = Path(__file__).parents[2]
PAGES = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
}
#: The page of the test kit has a test of its own.
NO_PROGRAMS = {"docs/testing.md"}


#: What the names of most events begin with.
EVENT_WORDS = {"node", "mode", "rebuild", "handed", "journal", "layouts", "fleet", "host"}


def blocks(text, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def commands(text):
    """Return the lines of shell blocks, and what looks like a command of ours in the prose."""
    lines = "".join(blocks(text, "sh")).replace("\\\n", " ").splitlines()
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    return lines + re.findall(r"`((?:flask|make|pip)[^`]*)`", prose)


#: A page is read from top to bottom: a program begins with its imports, what follows adds to it.
PROGRAMS = [name for name in PAGES if name not in NO_PROGRAMS and blocks(PAGES[name], "python")]


@pytest.fixture
def own_logging(monkeypatch):
    """Let a page set logging up for itself alone."""
    loggers = [logging.getLogger(name) for name in ("flask_msm", "flask_msm.audit")]
    for logger in loggers:
        for what in ("level", "propagate"):
            monkeypatch.setattr(logger, what, getattr(logger, what))
        monkeypatch.setattr(logger, "handlers", list(logger.handlers))
    before = {id(handler) for logger in loggers for handler in logger.handlers}
    yield
    for handler in [handler for logger in loggers for handler in logger.handlers]:
        if id(handler) not in before:
            handler.close()


@pytest.mark.usefixtures("own_logging")
@pytest.mark.parametrize("page", PROGRAMS)
def test_the_programs_of_a_page_run(page, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    app = Flask("shop")
    names = {
        "__name__": "shop",
        "app": app,
        "session": flask.session,
        "MemcachedSessionManager": flask_msm.MemcachedSessionManager,
        "OPS_HASH": "scrypt:32768:8:1$a$b",
        "DESK_HASH": "scrypt:32768:8:1$a$b",
    }
    for program in blocks(PAGES[page], "python"):
        exec(compile(program, page, "exec"), names)

    for found in (app, names["app"]):
        Settings.from_mapping(found.config, app_name=found.name, testing=False)


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page_exist_with_their_options(page):
    for line in commands(PAGES[page]):
        if match := re.search(r"(?<![-\w])msm ([a-z].*)", line.partition("#")[0]):
            take(match[1])


def take(line):
    """Parse *line* as the command line would; ``...`` stands for anything."""
    words = re.split(r" *(?:\|\||&&|;|\|) *", line)[0].replace('"', "").split()
    if "..." in words:
        return
    command: click.Command = msm_commands
    context = click.Context(msm_commands)
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        name = words.pop(0).strip(",.")
        found = command.get_command(context, name)
        if found is None and command is not msm_commands:
            break
        assert found, f"there is no command {name!r}: {line}"
        command = found
    command.make_context(command.name, [*words], resilient_parsing=True)
    for word in words:
        known = {option for p in command.params for option in p.opts}
        assert not word.startswith("--") or word in known, f"no option {word}: {line}"


@pytest.mark.parametrize("page", PAGES)
def test_the_shell_lines_of_a_page_are_well_formed(page):
    for block in blocks(PAGES[page], "sh"):
        checked = subprocess.run(
            ["bash", "-n"], input=block, text=True, capture_output=True, check=False
        )
        assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize("page", PAGES)
def test_the_make_targets_of_a_page_exist(page):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))

    for line in commands(PAGES[page]):
        if match := re.match(r"make ([a-z-]+)", line):
            assert match[1] in targets, line


@pytest.mark.parametrize("page", PAGES)
def test_the_extras_a_page_installs_exist(page):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    for line in commands(PAGES[page]):
        for extra in re.findall(r"flask-msm\[(\w+)\]", line):
            assert extra in project["optional-dependencies"]


@pytest.mark.parametrize("page", PAGES)
def test_the_settings_a_page_names_exist(page):
    known = {doc.key for doc in setting_docs()}

    for name in re.findall(r"(?<!FLASK_)\bMSM_[A-Z_]+\b(?!\*)", PAGES[page]):
        assert name in known or name.endswith("_"), f"{page} names {name}"


@pytest.mark.parametrize("page", PAGES)
def test_the_names_a_page_imports_are_public(page):
    """A program of the documentation keeps to what the page of Python names promises."""
    spec = importlib.util.spec_from_file_location("api_page", ROOT / "docs" / "api_page.py")
    promised = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(promised)
    for program in blocks(PAGES[page], "python") if page not in NO_PROGRAMS else ():
        for module, names in re.findall(
            r"^from (flask_msm\S*) import ([^#\n]+)", program, re.MULTILINE
        ):
            for name in names.split(","):
                assert name.strip() in promised.NAMES[module], f"{page}: {module}.{name.strip()}"


def test_the_acts_of_the_drill_are_those_that_are_played():
    from drill.acts import ACTS

    page = (ROOT / "drill" / "README.md").read_text(encoding="utf-8")
    table = page.partition("| act |")[2].partition("\n\n")[0]
    played = {act.title for act in ACTS.values()}
    listed = {line.split(" | ")[0].strip("| ") for line in table.splitlines()[2:]}
    assert listed == played


@pytest.mark.parametrize("page", ["docs/failures.md", "docs/operating.md"])
def test_the_events_a_page_names_exist(page):
    known = {kind for kinds in EVENT_KINDS.values() for kind in kinds}
    words = set(re.findall(r"`([a-z]+_[a-z_]+)`", PAGES[page]))
    kinds = {word for word in words if word.split("_")[0] in EVENT_WORDS}

    assert kinds
    assert kinds - known == set()


@pytest.mark.parametrize("page", PAGES)
def test_no_page_says_of_a_setting_that_it_has_no_effect_yet(page):
    assert not re.findall(r"`MSM_([A-Z_]+)`[^.|]*no effect yet", PAGES[page])
