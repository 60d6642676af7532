"""Pages and command line name one state and one act with one word, without jargon."""

from __future__ import annotations

import re

import click
import pytest
from support.dashboard import PAGES, client_of
from support.fake_console import FakeConsole
from support.fleet_scenes import SCENES
from support.history_scenes import eventful

from flask_msm.operations.command_group import msm_commands


#: What had to be explained to people, or had two words.
FORBIDDEN = re.compile(
    r"circuit|\btrusted\b|by the fleet|local fallback|half-open|\bdegraded\b|recovering|rebuilding"
    r"|are distributed|try again\b(?! in)|restore\b|start distribution|\bdirty\b|tombstone"
    r"|NodeUnreachableError|\d [kMG]B\b|p9[59] \d+\.\d",
    re.IGNORECASE,
)
REVIEWS = (
    "act/policy?value=local",
    "act/stop",
    "act/resume",
    "act/drain?node=n1",
    "act/undrain?node=n2",
    "act/reset?node=n1",
    "act/clear?attribute=%22upload%22",
    "act/unpin?attribute=%22_trace_cb%22",
)


def seen(html):
    """Return what a person reads of a page, pictures included."""
    spoken = " ".join(re.findall(r'aria-label="([^"]*)"', html))
    text = re.sub(r"<svg.*?</svg>|<script.*?</script>", " ", html, flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", text)) + spoken


@pytest.mark.parametrize("name", SCENES)
def test_no_page_has_a_word_that_has_to_be_explained(name):
    console = FakeConsole(SCENES[name]())
    console.book = eventful(SCENES[name]).book
    client, _ = client_of(console)
    for path in [*PAGES, "nodes/n3", *REVIEWS]:
        text = seen(client.get("/msm-admin/" + path).text)
        assert FORBIDDEN.search(text) is None, (path, FORBIDDEN.search(text))


def commands(group, name="msm"):
    context = click.Context(group)
    for part in group.list_commands(context):
        command = group.get_command(context, part)
        yield f"{name} {part}", command
        if isinstance(command, click.Group):
            yield from commands(command, f"{name} {part}")


@pytest.mark.parametrize(
    ("name", "command"), [pytest.param(*c, id=c[0]) for c in commands(msm_commands)]
)
def test_no_help_has_a_word_that_has_to_be_explained(name, command):
    context = click.Context(command, info_name=name, help_option_names=["-h", "--help"])
    text = command.get_help(context)

    assert FORBIDDEN.search(text) is None, FORBIDDEN.search(text)


@pytest.mark.parametrize(
    "said", ["Circuit open", "is trusted by the fleet", "67.1 MB", "p95 8.0 ms", "Try again"]
)
def test_a_word_that_has_to_be_explained_is_found(said):
    assert FORBIDDEN.search(said)
