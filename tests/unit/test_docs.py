"""Pages made from the code are made from this code."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

from flask_msm.operations.snapshot import COUNTED


DOCS = Path(__file__).parents[2] / "docs"


def load(name):
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_of_settings_is_up_to_date():
    module = load("settings_page")

    assert module.PAGE.read_text(encoding="utf-8") == module.page()


def test_the_page_of_states_is_up_to_date_with_the_tables():
    module = load("diagrams")

    assert module.PAGE.read_text(encoding="utf-8") == module.page()


def test_every_test_that_a_page_names_exists():
    tests = Path(__file__).parents[1]
    there = {
        name
        for path in tests.rglob("*.py")
        for name in re.findall(r"^def (test_\w+)\(", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    there |= {path.name for path in tests.rglob("test_*.py")}
    named = {
        name
        for page in DOCS.glob("*.md")
        for name in re.findall(
            r"`(?:[\w/]+/)?(test_\w+(?:\.py)?)`", page.read_text(encoding="utf-8")
        )
    }

    assert len(named) > 50
    assert named <= there


def test_the_page_of_python_names_is_up_to_date_and_everything_public_has_a_docstring():
    module = load("api_page")

    assert module.PAGE.read_text(encoding="utf-8") == module.page(), "run python docs/api_page.py"


def test_each_row_about_an_impossible_attack_names_the_test_that_shows_it():
    """Every row of a table headed *cannot* ends with at least one test."""
    text = (DOCS / "security.md").read_text(encoding="utf-8")
    tables = re.findall(r"^\| cannot \|.*\n\|[-|]+\n((?:\|.*\n)+)", text, re.MULTILINE)

    assert len(tables) >= 5
    for row in "".join(tables).splitlines():
        assert re.search(r"`test_\w+`[^|]*\|$", row), row


def test_the_page_of_the_dashboard_says_what_every_count_of_a_worker_means():
    page = (DOCS / "dashboard.md").read_text()

    for name, meaning in COUNTED.items():
        assert f"| `{name}` | {meaning[0].lower()}{meaning[1:].rstrip('.')} |" in page
