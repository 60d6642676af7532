"""The page *History*: what it says of days with an outage, and of days that nothing is known of."""

from __future__ import annotations

import gzip
import re
from dataclasses import replace

import pytest
from support.attacks import HOSTILE
from support.dashboard import client_of
from support.fake_console import FakeConsole
from support.fleet_scenes import all_well, large, node_down
from support.history_scenes import eventful

from flask_msm.operations.state.formatting import UNKNOWN
from flask_msm_dashboard.context import STATIC


HISTORY = "/msm-admin/history/"


def page(console, query=""):
    client, _ = client_of(console)
    response = client.get(HISTORY + query)
    assert response.status_code == 200, response.text
    return response.text


def words(html):
    text = re.sub(r"<svg.*?</svg>|<script.*?</script>", "", html, flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", text))


def test_outages_changes_and_figures_stand_in_words_and_rows():
    html = page(eventful())

    text = words(html)
    assert "4 sessions lost" in text
    assert re.search(r"n1 down \d+ min", html), "the band has a name"
    assert "by ops · why: ticket 812" in text
    assert "gaps are left open" in text
    assert "Figures as a table" in text


def test_every_chart_says_what_it_shows_and_none_has_a_style():
    html = page(eventful())

    charts = re.findall(r'<svg class="lane"[^>]*>', html)
    spoken = [chart for chart in charts if "aria-hidden" not in chart]
    assert len(spoken) == 3 + 5, "nodes, changes, lost, kept, time, found"
    assert all('role="img"' in chart and 'aria-label="' in chart for chart in spoken)
    assert "n1: down " in html
    assert "Session time per request. At the end half of the requests take at most" in html
    assert "time-out of a node, 250 ms" in html
    assert not re.search(r"\sstyle=|<style", html)


@pytest.mark.parametrize("name", ["15m", "6h", "24h", "7d"])
def test_every_range_is_a_plain_link_and_marks_itself(name):
    html = page(eventful(), f"?range={name}")

    assert re.findall(r'href="/msm-admin/history/\?range=(\w+)"', html) == [
        "15m",
        "6h",
        "24h",
        "7d",
    ]
    assert f'range={name}" aria-current="true"' in html


@pytest.mark.parametrize("name", ["15m", "6h", "24h", "7d"])
def test_where_nothing_is_known_no_figure_is_made_up(name):
    text = words(page(FakeConsole(all_well()), f"?range={name}"))

    assert "No numbers are known of this time." in text
    assert "None that is known of in this time." in text
    assert re.search(rf"Sessions lost per [\w ]+ {UNKNOWN} in all", text)


def test_a_range_that_is_not_known_is_refused_with_those_that_are():
    client, _ = client_of(eventful())

    response = client.get(f"{HISTORY}?range=<b>")

    assert response.status_code == 400
    assert "15m, 6h, 24h and 7d" in response.text


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_text(name):
    console = eventful()
    first, *others = console.snapshot.nodes
    console.snapshot = replace(console.snapshot, nodes=(replace(first, id=name), *others))
    now = console.view().at
    for at, state in ((now - 9000, "up"), (now - 6000, "down"), (now - 3000, "up")):
        console.book.add(at, "state", name, {"node": name, "state": state})
    console.book.add(
        now - 60, "change", "x", {"kind": name, "text": name, "who": name, "why": name}
    )

    html = page(console)

    assert "<img" not in html
    assert "<script>" not in html
    assert "\u202e" not in html
    assert html.count("<h1") == 1


@pytest.mark.parametrize("scene", [node_down, large], ids=["three nodes", "fifty nodes"])
def test_the_page_with_all_its_files_is_light(scene):
    console = eventful(scene)
    html = len(gzip.compress(page(console).encode()))
    files = sum(len(gzip.compress(path.read_bytes())) for path in STATIC.iterdir())

    assert html + files <= 80_000


def test_texts_of_errors_can_be_hidden():
    console = eventful()
    secret = {"level": "error", "kind": "node_down", "text": "n1 is down (OSError: 10.0.0.7)"}
    console.book.add(console.view().at - 60, "event", "e", secret)
    client, _ = client_of(console, admin_hide_errors=True)

    assert "10.0.0.7" not in client.get(HISTORY).text
