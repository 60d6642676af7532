"""Attacks on the dashboard: names and sentences that come from elsewhere."""

from __future__ import annotations

import re

import pytest
from support.attacks import HOSTILE, PAGES, named
from support.dashboard import client_of, post, review, token_of
from support.fake_console import FakeConsole
from support.fleet_scenes import all_down, all_well, node_down, partial, stopped

from flask_msm.operations.snapshot import SessionFacts
from flask_msm_dashboard import Access


@pytest.mark.parametrize(
    ("scene", "text"),
    [
        *((partial, text) for text in HOSTILE),
        *((scene, HOSTILE[1]) for scene in (all_well, node_down, all_down, stopped)),
    ],
)
def test_nothing_that_others_name_breaks_a_page(scene, text):
    """Worker, host, version, environment, reasons, errors, kinds, actors, attributes: all of it."""
    client, _ = client_of(FakeConsole(named(scene(), text)))

    for path in PAGES:
        response = client.get("/msm-admin/" + path)
        assert response.status_code == 200, path
        if response.mimetype != "text/html":
            continue
        # Hidden fields of a form carry the text as it is.
        html = re.sub(r'<input type="hidden"[^>]*>', "", response.text)
        assert "<img" not in html
        assert "<script>" not in html
        assert html.count("<script ") == 1
        assert (html.count("{{7*7}}") > 0) is (text in html) or "{{" not in text
        assert not set(html) & set("\0\x1b\u202e\u2066\u200b\u2028\u2029\ud800")
        assert 'href="javascript:' not in html


@pytest.mark.parametrize("text", HOSTILE)
def test_a_poll_is_json_with_hostile_names(text):
    client, _ = client_of(FakeConsole(named(partial(), text)))

    for path in PAGES[:8]:
        response = client.get(f"/msm-admin/{path}?live=x:y")
        assert response.status_code == 200
        assert response.mimetype in {"application/json", "text/html"}
        if response.mimetype == "application/json":
            assert "<img" not in "".join(
                part["html"] for part in response.json["sections"].values()
            )
            response.data.decode("ascii")


@pytest.mark.parametrize("text", [*HOSTILE[:4], "\u202e\n\x1b", "x" * 10_000])
def test_the_name_of_an_operator_is_text(text):
    client, console = client_of(admin_access=lambda request: Access("write", text))

    fields = {**review(client, "drain?node=n1"), "reason": text}
    post(client, "/msm-admin/act/drain", fields)

    (called,) = console.calls
    assert called[2].isprintable()
    assert len(called[2]) <= 64
    for path in ("", "events/", "nodes/n1", "act/stop"):
        html = client.get("/msm-admin/" + path).text
        assert "<img" not in html
        assert html.count("<script") == 1
        assert "x" * 1000 not in html


@pytest.mark.parametrize("text", HOSTILE)
def test_a_session_that_is_looked_up_may_have_any_names_in_it(text):
    client, console = client_of()
    console.found = SessionFacts(ref="0123456789", handle="h", attributes=((text, text),))

    data = {"token": token_of(client, "look-up"), "session": "0123456789"}
    response = post(client, "/msm-admin/sessions/look-up", data)

    assert response.status_code == 200
    assert "<img" not in response.text
    assert response.text.count("<script") == 1


def test_names_of_headers_are_not_taken_from_what_others_name():
    client, console = client_of(FakeConsole(named(all_well(), "x\r\nSet-Cookie: a=b")))
    fields = {**review(client, "drain?node=n1"), "reason": "x\r\nSet-Cookie: a=b"}

    response = post(client, "/msm-admin/act/drain", fields)

    assert response.status_code == 303
    assert "Set-Cookie" not in response.headers
    assert console.calls[0][3] == "x", "one line of it"
