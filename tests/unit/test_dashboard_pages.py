"""Every page, in every state of the fleet: what it says, and what it must never do."""

from __future__ import annotations

import gzip
import re
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from flask import Flask, session
from support.dashboard import PAGES, client_of, make_app
from support.fake_console import FakeConsole
from support.fleet_scenes import SCENES, all_well, large, lost, node_down, partial

from flask_msm import MemcachedSessionManager
from flask_msm.operations.snapshot import BlacklistEntry, SessionFacts
from flask_msm.operations.state.formatting import UNKNOWN
from flask_msm.operations.statistics import Histogram, Traffic
from flask_msm_dashboard import Access, loopback_only
from flask_msm_dashboard.context import STATIC
from flask_msm_dashboard.script_texts import script_texts


READER = {"admin_access": lambda request: Access("read", "bob")}


def page(path="", snapshot=None, **options):
    client, _ = client_of(FakeConsole(snapshot or all_well()), **options)
    response = client.get("/msm-admin/" + path)
    assert response.status_code == 200, response.text
    return response.text


def words(html):
    """Return what a reader sees."""
    body = re.sub(r"<svg.*?</svg>|<script.*?</script>", "", html, flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", body))


@pytest.mark.parametrize("scene", [*SCENES.values(), large], ids=lambda scene: scene.__name__)
@pytest.mark.parametrize("path", PAGES)
def test_every_page_is_shown_in_every_state(path, scene):
    html = page(path, scene())

    assert html.count("<h1") == 1
    assert 'lang="en"' in html
    assert "None ago" not in html
    assert "production" in words(html), "the environment stands on every page"


@pytest.mark.parametrize("path", [*PAGES, "act/stop", "act/policy?value=stop"])
def test_a_page_does_not_touch_the_session(path):
    app, _ = make_app()  # its session raises when it is touched
    response = app.test_client().get("/msm-admin/" + path)

    assert response.status_code == 200
    assert "Set-Cookie" not in response.headers
    assert "Cookie" not in response.vary


@pytest.mark.parametrize("path", [*PAGES, "act/stop"])
def test_no_inline_script_or_style_and_nothing_from_elsewhere(path):
    html = page(path, node_down())

    assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", html)
    assert not re.search(r"<script(?![^>]*\ssrc=)", html)
    assert not re.search(r'(?:src|href|action)="(?:https?:)?//', html)


@pytest.mark.parametrize(
    ("scene", "title"),
    [
        ("all_well", "All sessions are safe"),
        ("node_down", "n3 is down, and 1 of 8 workers reach no node"),
        ("all_down", "No memcached node answers: sessions are kept on hosts"),
        ("stopped", "Distribution is stopped by an operator"),
        ("empty", "Ready. No sessions yet"),
        ("partial", "n2 is being filled"),
        ("draining", "Sessions run on 2 of 3 nodes, on purpose"),
    ],
)
def test_the_verdict_is_the_heading_and_in_the_title_of_the_window(scene, title):
    html = page("", SCENES[scene]())

    assert f'<h1 id="verdict">{title}</h1>' in html
    assert f"<title>{title} · production · Sessions</title>" in html


def test_a_part_of_the_fleet_is_not_shown_as_all_of_it():
    html = words(page("", partial()))

    assert "5 of 8 reporting" in html
    assert "4 of 8 workers on 2 hosts agree" in html
    assert "Not seen yet" in html
    assert "No statistics: the node answered ERROR to stats." in words(page("nodes/", partial()))


def test_a_worker_without_reports_of_others_does_not_call_itself_the_only_one():
    snapshot = all_well()
    observer = replace(snapshot.observer, source="self", workers_seen=1, workers_known=8)
    text = words(page("", replace(snapshot, observer=observer, workers=snapshot.workers[:1])))

    assert "Asking the other workers" in text
    assert "1 of 8" not in text
    assert "What the others say is being gathered." in text
    assert "Only this worker reports" not in text


def test_while_memcached_is_down_the_page_says_whom_it_sees():
    html = words(page("", SCENES["all_down"]()))

    assert "4 workers of this host, others cannot be seen" in html
    assert "through local storage of web-1" in html
    assert "on its host only" in html
    nodes = words(page("nodes/", SCENES["all_down"]()))
    assert "Last numbers at 20:48:19: 184,220 items, 61 % full" in nodes


def test_without_nodes_no_page_says_that_nothing_happened_or_that_all_is_on_nodes():
    app = Flask("shop")
    app.config.from_mapping(SECRET_KEY="x", MSM_ADMIN_ACCESS=loopback_only)
    MemcachedSessionManager(app)
    client = app.test_client()

    @app.get("/")
    def count():
        session["visits"] = session.get("visits", 0) + 1
        return "counted"

    for _ in range(2):
        client.get("/")
    text = words(client.get("/msm-admin/").text)

    assert "Sessions stay on this host: no node is configured" in text
    assert text.count("Not counted: no node is configured") == 5
    assert "No worker reports: no node is configured" in text
    for claim in (
        "MSM_REPLICAS",
        "All are on",
        "No session was",
        "No cookie was",
        "0 of 0",
        "Only",
    ):
        assert claim not in text.replace("Only one copy left", "")
    assert "Set MSM_NODES, and all of them are shown" in words(
        client.get("/msm-admin/workers/").text
    )


def test_a_reader_sees_no_buttons_and_is_told_why():
    for path in ("", "nodes/n1", "blacklist/", "policy/", "workers/"):
        html = page(path, node_down(), **READER)

        assert 'method="post"' not in html
        assert "/act/" not in html.replace('action="/msm-admin/act/policy"', "").replace(
            'action="/msm-admin/act/on_reconnect"', ""
        )
    assert "You can look but not change." in words(page("policy/", **READER))
    assert "read only" in words(page("", **READER))


EVIL = '<img src=x onerror="alert(1)">'


def test_a_long_name_is_cut():
    entry = BlacklistEntry(attribute="a" * 5000, type_name="t" * 5000, reason="r" * 5000, count=1)
    shown = page("", replace(all_well(), blacklist=(entry,)))

    assert "a" * 121 not in shown
    assert "r" * 301 not in shown


def test_addresses_and_texts_of_errors_are_hidden_if_that_is_wanted():
    hidden = {"admin_hide_addresses": True, "admin_hide_errors": True}
    for path in ("", "nodes/n3", "blacklist/", "api/v1/state"):
        shown = page(path, node_down(), **hidden)

        assert "10.0.4." not in shown
        assert "BufferedRandom" not in shown
        assert "Connection refused" not in shown
    assert "10.0.4.13:11211" in page("nodes/", node_down())


def test_workers_are_filtered_by_the_address():
    html = page("workers/?mode=local&host=web-2", node_down())

    assert 'id="w-web-2%3A11215"' in html
    assert 'id="w-web-2%3A11213"' not in html
    assert '<option value="local" selected>' in html
    assert "No worker is like that." in words(page("workers/?mode=stopped", node_down()))


def test_events_are_filtered_and_paged_by_the_address():
    snapshot = node_down()
    many = tuple(
        replace(snapshot.events[0], id=f"w-{n}", at=snapshot.at - n, node="n1") for n in range(120)
    )
    client, _ = client_of(FakeConsole(replace(snapshot, events=(*snapshot.events, *many))))

    first = client.get("/msm-admin/events/?node=n1").text
    (older,) = re.findall(r'href="([^"]*before=[^"]*)"', first)
    second = client.get(older.replace("&amp;", "&")).text

    assert first.count("<li id=") == 50
    assert 'id="e-w-50"' in second
    assert 'id="e-w-49"' not in second
    assert "No event is like that." in client.get("/msm-admin/events/?kind=x").text


def test_events_since_a_time_are_those_since_then():
    snapshot = node_down()
    events = tuple(
        replace(snapshot.events[0], id=f"w-{age}", at=snapshot.at - age)
        for age in (60, 2000, 90_000)
    )
    client, _ = client_of(FakeConsole(replace(snapshot, events=events)))

    def shown(since):
        html = client.get("/msm-admin/events/", query_string={"since": since}).text
        return re.findall(r'id="e-w-(\d+)"', html), words(html)

    assert shown("15m")[0] == ["60"]
    assert shown("1h")[0] == ["60", "2000"]
    assert shown("")[0] == ["60", "2000", "90000"]
    then = datetime.fromtimestamp(snapshot.at - 3000, UTC)
    for text in (then.isoformat(), f"{then:%Y-%m-%dT%H:%M:%SZ}", f"{then:%Y-%m-%d %H:%M:%S}"):
        assert shown(text)[0] == ["60", "2000"], text
    assert shown("1969-01-01")[0] == ["60", "2000", "90000"]
    ids, text = shown("<yesterday>")
    assert len(ids) == 3
    assert "since=&lt;yesterday&gt; is not understood, all events are shown." in text
    assert "15m, 1h, 1d, or a time such as 2026-01-31T12:00:00Z" in text


def test_a_change_of_an_operator_is_shown_with_before_after_and_result():
    changed = replace(
        all_well().events[0],
        actor="anna.k",
        before="raise",
        after="<b>",
        result="told to n1, n2",
    )
    snapshot = replace(all_well(), events=(changed,))

    assert "Before: raise. After: &lt;b&gt;. Result: told to n1, n2" in words(
        page("events/", snapshot)
    )
    assert "Result:" not in words(page("", snapshot)), "the overview stays short"


def test_a_node_shows_its_latencies_its_rare_counters_and_how_often_it_failed():
    snapshot = node_down()
    text = words(page("nodes/n1", snapshot))
    assert "Answers to probes half within 0.7 ms, 95 of 100 within 1.4 ms" in text
    assert "Expired without having been read 40,122" in text
    assert "Errors since the workers started none" in text
    first = snapshot.nodes[0]
    stats = replace(first.stats, evictions=70, evicted_unfetched=9, refused_connections=2)
    opinions = (
        first.opinions[0]._replace(timeouts=3, breaks=1),
        first.opinions[1]._replace(timeouts=None, breaks=None),
    )
    node = replace(first, stats=stats, opinions=opinions)

    text = words(page("nodes/n1", replace(snapshot, nodes=(node,))))

    assert "Evictions since its start 70, 9 of them never read" in text
    assert "of 1,024, was full 2 times" in text
    assert "3 time-outs, 1 refused or broken connection" in text


def test_a_node_that_is_down_says_who_is_hurt_and_what_to_do():
    snapshot = node_down()
    both = tuple(
        replace(node, state="down", phase="down", error=snapshot.nodes[2].error)
        for node in snapshot.nodes[1:]
    )
    two = replace(snapshot, nodes=(snapshot.nodes[0], *both))

    assert "What to do Start memcached on n3 (10.0.4.13:11211)" in words(page("nodes/n3", snapshot))
    assert "What to do Start memcached on n2 (10.0.4.12:11211) and n3" in words(
        page("nodes/n2", two)
    )
    assert "What to do" not in words(page("nodes/n1", two))


def test_while_sessions_are_being_lost_no_page_calls_a_restart_safe():
    assert "Safe to restart the next node" in words(page("", all_well()))
    text = words(page("", lost()))
    assert "Find out why before a node is restarted" in text
    assert "Safe to restart" not in text


def test_loads_and_saves_are_shown_each_with_its_quantiles():
    bounds = (0.001, 0.01, 0.1)
    traffic = Traffic(
        loads=Histogram(bounds=bounds, counts=(60, 35, 5, 0)),
        saves=Histogram(bounds=bounds, counts=(0, 10, 0, 0)),
    )

    text = words(page("nodes/", replace(all_well(), traffic=traffic)))

    assert "Loads 100 1 10 100" in text
    assert "Saves 10 10 10 10" in text
    nothing = " ".join(["Loads", *[UNKNOWN] * 4])
    assert nothing in words(page("nodes/", replace(all_well(), traffic=None)))


def test_a_node_that_is_none_is_not_found():
    client, _ = client_of()

    response = client.get("/msm-admin/nodes/unknown")

    assert response.status_code == 404
    assert "There is no such node." in response.text


def test_only_what_changed_is_sent_to_a_page_that_polls():
    client, console = client_of(FakeConsole(all_well()))
    html = client.get("/msm-admin/").text
    have = re.findall(r'data-live="(\w+)" data-rev="(\w+)"', html)
    query = ",".join(":".join(pair) for pair in have)

    unchanged = client.get("/msm-admin/?live=" + query)
    console.snapshot = replace(console.snapshot, at=console.snapshot.at + 5)
    later = client.get("/msm-admin/?live=" + query)
    console.snapshot = node_down()
    changed = client.get("/msm-admin/?live=" + query)

    assert unchanged.json["sections"] == {}
    assert len(unchanged.data) <= 300
    assert later.json["sections"] == {}, "time alone is counted by the page"
    assert {"verdict", "timeline", "recent", "chips"} <= set(changed.json["sections"])
    assert "policy" not in changed.json["sections"]
    assert changed.json["title"].startswith("n3 is down")


@pytest.mark.parametrize("scene", SCENES.values(), ids=lambda scene: scene.__name__)
def test_a_fleet_that_stays_as_it_is_is_no_change_in_any_state(scene):
    client, console = client_of(FakeConsole(scene()))
    html = client.get("/msm-admin/").text
    have = re.findall(r'data-live="(\w+)" data-rev="(\w+)"', html)
    seen = console.snapshot.observer

    console.snapshot = replace(
        console.snapshot,
        at=console.snapshot.at + 1,
        observer=replace(seen, gathered_at=seen.gathered_at + 1),
    )
    answer = client.get("/msm-admin/?live=" + ",".join(":".join(pair) for pair in have))

    assert answer.json["sections"] == {}
    assert len(answer.data) <= 300


def test_a_token_that_lies_open_is_renewed_by_the_poller():
    client, console = client_of(FakeConsole(all_well()))
    html = client.get("/msm-admin/nodes/n1").text
    (rev,) = re.findall(r'data-live="node" data-rev="(\w+)"', html)

    console.snapshot = replace(console.snapshot, at=console.snapshot.at + 601)
    answer = client.get(f"/msm-admin/nodes/n1?live=node:{rev}").json

    assert "token" in answer["sections"]["node"]["html"]


def test_a_poll_is_answered_with_a_longer_interval_when_no_node_answers():
    client, console = client_of(FakeConsole(all_well()))
    often = client.get("/msm-admin/?live=x").json["poll_after_ms"]
    console.snapshot = SCENES["all_down"]()

    assert often == 3000
    assert client.get("/msm-admin/?live=x").json["poll_after_ms"] == 10000


def test_one_page_asks_the_console_once():
    client, console = client_of()

    client.get("/msm-admin/")
    client.get("/msm-admin/workers/")
    client.get("/msm-admin/")

    assert (console.views, console.histories) == (3, 1), "what happened is asked for seldom"


@pytest.mark.parametrize("scene", SCENES.values(), ids=lambda scene: scene.__name__)
def test_a_page_with_all_its_files_is_light(scene):
    """What a browser gets with nothing in its cache: the page and all it loads, gzipped."""
    client, _ = client_of(FakeConsole(scene()))
    html = client.get("/msm-admin/").text
    loaded = re.findall(r'(?:src|href)="(/msm-admin/static/[^"]+)"', html)
    bodies = [html.encode(), *(client.get(address).data for address in loaded)]

    assert len(loaded) == 6, "icon, two style sheets and three scripts"
    assert sum(len(gzip.compress(body)) for body in bodies) <= 80_000


def test_files_of_the_page_are_served_with_safe_headers():
    client, _ = client_of(admin_access=None)

    for path in STATIC.iterdir():
        response = client.get(f"/msm-admin/static/{path.name}")
        assert response.status_code == 200
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        response.close()


def test_every_word_of_the_script_is_there():
    script = (STATIC / "msm.js").read_text(encoding="utf-8")

    assert set(re.findall(r"\btexts\.(\w+)", script)) <= set(script_texts())


def test_context_processors_and_the_configuration_of_the_application_stay_out():
    app, _ = make_app()

    @app.context_processor
    def broken():
        raise AssertionError("an application's own")

    assert app.test_client().get("/msm-admin/").status_code == 200
    assert "a secret" not in app.test_client().get("/msm-admin/policy/").text


def test_a_session_is_described_without_its_contents():
    client, console = client_of()
    console.found = SessionFacts(
        ref="0123456789",
        handle="opaque",
        holders=("n1",),
        home_nodes=("n1", "n2"),
        size=4096,
        attributes=(("cart", "dict"), (EVIL, None)),
    )
    html = client.get("/msm-admin/sessions/").text
    token = re.findall(r'name="token" value="([^"]+)"', html)[0]
    headers = {"Origin": "http://localhost", "Sec-Fetch-Site": "same-origin"}

    answer = client.post(
        "/msm-admin/sessions/look-up",
        data={"token": token, "session": "0123456789"},
        headers=headers,
    )

    assert "Session 0123456789" in words(answer.text)
    assert "cart" in answer.text
    assert "<img" not in answer.text
    assert "Revoke this session" in answer.text
