"""Attacks on the dashboard: what caches keep, and what settings hide."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.attacks import PAGES
from support.dashboard import client_of
from support.fake_console import FakeConsole

from flask_msm.operations.snapshot import Event
from flask_msm_dashboard import Access


def test_a_cached_answer_is_validated_again_and_by_access():
    allowed = [Access("write", "anna.k")]
    client, _ = client_of(admin_access=lambda request: allowed[0])
    tag = client.get("/msm-admin/api/v1/state").headers["ETag"]
    headers = {"If-None-Match": tag}
    same = client.get("/msm-admin/api/v1/state", headers=headers)
    allowed[0] = None

    closed = client.get("/msm-admin/api/v1/state", headers=headers)

    assert same.status_code == 304
    assert "private" in same.headers["Cache-Control"]
    assert closed.status_code == 403
    assert closed.headers["Cache-Control"] == "no-store"


def test_no_page_is_kept_framed_or_shared():
    client, _ = client_of()

    for path in (*PAGES[:12], "api/v1/health", "nodes/nope"):
        headers = client.get("/msm-admin/" + path).headers
        assert headers["Cache-Control"] == "no-store", path
        assert headers["X-Frame-Options"] == "DENY"
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert "Set-Cookie" not in headers
        assert "Access-Control-Allow-Origin" not in headers


@pytest.mark.parametrize("hidden", [{"admin_hide_errors": True}, {"admin_hide_addresses": True}])
def test_hidden_errors_and_addresses_are_not_in_events_either(hidden):
    console = FakeConsole()
    error = "NodeUnreachableError: 10.9.8.7:11211 refused, by db1.internal"
    probed = console.note("probed", f"n1: {error}, by anna.k (why)", actor="anna.k").event
    down = Event(id="x.1", at=1.0, level="error", kind="node_down", text=f"n1 is down ({error})")
    console.snapshot = replace(console.snapshot, events=(down, *console.snapshot.events))
    client, _ = client_of(console, **hidden)

    for path in (f"nodes/?applied={probed}", "events/", "", "api/v1/state"):
        html = client.get("/msm-admin/" + path).text
        assert "n1: NodeUnreachableError, by anna.k (why)" in html, path
        assert "10.9.8.7" not in html
        assert "db1.internal" not in html
    assert "n1 is down (NodeUnreachableError)" in client.get("/msm-admin/events/").text
