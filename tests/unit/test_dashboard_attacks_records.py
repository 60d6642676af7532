"""Attacks on the dashboard: over a real console and real records."""

from __future__ import annotations

import functools
import json
import logging
import re
import threading

import pytest
from flask import session
from support.attacks import PAGES
from support.crew import ODD, Crew
from support.dashboard import post

from flask_msm.cluster.reports import Report
from flask_msm.operations.projection import CollectedReports
from flask_msm_dashboard import Access
from flask_msm_dashboard.security import Tokens


def crew_with_dashboard(count=1):
    crew = Crew(
        count,
        MSM_ADMIN=True,
        MSM_ADMIN_ACCESS=lambda request: Access("write", "anna.k"),
        MSM_SERIALIZATION_POLICY="blacklist",
    )
    crew.tick()
    return crew


def told_by_all_pages(client, pages=tuple(page for page in PAGES if "upload" not in page)):
    """Return all pages in one text."""
    answers = [client.get("/msm-admin/" + path) for path in pages]
    assert {answer.status_code for answer in answers} == {200}
    return "\n".join(answer.text for answer in answers)


WORST = ("control characters", "half a character", "a huge number", "a long text", "a map of maps")


@pytest.mark.parametrize("odd", [ODD[name] for name in WORST], ids=WORST)
def test_reports_forged_with_the_key_break_no_page(odd):
    crew = crew_with_dashboard(2)
    one, other = crew.workers
    client = one.browser()
    html_pages = [page for page in PAGES if not page.startswith("api/") and "upload" not in page]
    publisher = other.cluster.reporter
    facts = json.loads(json.dumps(publisher.facts(other.cluster.monitor.prober.numbers)))
    names = (*facts, "blacklist")
    inner = ("state", "since", "numbers", "latencies", "error", "failures", "retry_at", "trusted")
    reports = {f"host:{n}": {**facts, name: odd} for n, name in enumerate(names)}
    reports["host:all"] = dict.fromkeys(names, odd)
    reports["host:\ud800<img>"] = facts
    reports["host:inner"] = {
        **facts,
        "nodes": {node: dict.fromkeys(inner, odd) for node in crew.nodes},
        "events": [dict.fromkeys(("id", "at", "level", "kind", "text", "node", "actor"), odd)],
    }
    found = {name: Report(name, 1, said) for name, said in reports.items()}
    for name in found:
        one.cluster.workers.shared.put(name, b"{}")
    seen = CollectedReports(crew.clock.now, found, frozenset(found), "fleet")
    one.console.observer.refresh = lambda: seen
    one.console.observer._gather()
    one.cluster.urgent.takes = False

    html = told_by_all_pages(client, html_pages)

    assert "host:all" in html
    assert "<img" not in html
    html = re.sub(r'<input type="hidden"[^>]*>', "", html)
    assert not set(html) & set("\0\x1b\ud800")
    told_by_all_pages(client, ["api/v1/state", "api/v1/metrics"])


def test_no_value_of_a_session_is_on_any_page_or_in_the_log(caplog):
    caplog.set_level(logging.INFO)
    crew = crew_with_dashboard()
    (shop,) = crew.workers
    shop.do(lambda: session.update(card="4111111111111111", pdf=threading.Lock()))
    client = shop.browser(shop.cookie())
    crew.tick()

    html = told_by_all_pages(client)
    token = re.findall(r'name="token" value="([^"]+)"', client.get("/msm-admin/sessions/").text)[-1]
    for data in ({"session": shop.cookie()}, {"own": "1"}, {"session": shop.cookie()[:-1]}):
        html += post(client, "/msm-admin/sessions/look-up", {"token": token, **data}).text
    html += told_by_all_pages(client)

    assert "pdf" in html
    assert "was looked up" in html
    for secret in (shop.cookie(), shop.token().sid, "4111111111111111"):
        assert secret not in html
        assert secret not in caplog.text


@pytest.mark.parametrize(
    "text",
    ["version\r\nflush_all\r\n", "0123456789 ", "012345678*", "a b", "\0" * 10, "../../x", "*"],
)
def test_text_of_an_operator_is_no_part_of_a_command(text):
    crew = crew_with_dashboard()
    (shop,) = crew.workers
    client = shop.browser()
    asked = []
    for node in crew.nodes.values():
        node._exchange = functools.partial(noted, node._exchange, asked)
        node.metadump = functools.partial(listed, asked)
    name = json.dumps(text)
    pages = {
        "look-up": ("sessions/look-up", {"session": text}),
        "revoke": ("sessions/revoke", {"handle": text, "word": "revoke"}),
        "pin": ("act/pin", {"attribute": name}),
        "clear": ("act/clear", {"attribute": name}),
    }
    for action, (path, data) in pages.items():
        token = Tokens().make(shop.app, "anna.k", action)
        post(client, "/msm-admin/" + path, {"token": token, "reason": text, **data})

    assert asked
    assert all(re.fullmatch(r"[\x21-\x7e]{1,250}", key) for key in asked)
    assert not any(text.strip() in key for key in asked if text.strip() not in {"", "0123456789"})


def noted(exchange, asked, name, key, act):
    asked.append(key)
    return exchange(name, key, act)


def listed(asked, prefix, deadline):
    asked.append(prefix)
    return []
