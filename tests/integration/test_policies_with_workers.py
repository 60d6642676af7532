"""Each policy with four real workers and two real nodes: behaviour, log, and what others read."""

from __future__ import annotations

import re
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from support.patience import PATIENT
from support.workers import Worker

from flask_msm.testing.memcached import wait_until


pytestmark = pytest.mark.memcached

WORKERS = 4
SETTINGS = ("--config", "python:support.gunicorn_settings", "--workers", str(WORKERS))
CARD = "4111111111111111"
COOKIE = "session"


class Site:
    """Four workers behind one port, their log, and one browser."""

    def __init__(self, gunicorn, log) -> None:
        self.gunicorn = gunicorn
        self.log = log
        self.cookie = None

    def ask(self, path, body=None, *, cookie=None):
        """Ask whichever worker comes first, each time on a new connection."""
        method = "GET" if body is None else "POST"
        headers = {"Connection": "close"}
        if cookie := cookie or self.cookie:
            headers["Cookie"] = f"{COOKIE}={cookie}"
        return requests.request(
            method, self.gunicorn.url + path, json=body, headers=headers, timeout=60
        )

    def do(self, path, body=None):
        """Ask and keep the cookie."""
        response = self.ask(path, body)
        self.cookie = response.cookies.get(COOKIE) or self.cookie
        return response

    def seen(self):
        """Return what the session holds by process id, asked until every worker answered."""
        found = {}
        with ThreadPoolExecutor(8) as pool:

            def all_answered():
                for response in pool.map(self.ask, ["/shown?slow=0.02"] * 8):
                    found[response.json()["pid"]] = response.json()["values"]
                return len(found) == WORKERS

            wait_until(all_answered, "every worker answers")
        return found

    def said(self, word):
        """Return the lines of the log of all workers with *word* in them."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [line.split("\t", 2)[-1] for line in lines if word in line]


@pytest.fixture
def start(memcached, tmp_path):
    started = []

    def run(policy):
        nodes = [memcached() for _ in range(2)]
        config = {
            "SECRET_KEY": "policies",
            "MSM_NODES": " ".join(
                f"n{number}:127.0.0.1:{node.port}" for number, node in enumerate(nodes, 1)
            ),
            "MSM_SERIALIZATION_POLICY": policy,
            "MSM_PROBE_INTERVAL": 0.25,
            **PATIENT,
        }
        log = tmp_path / "workers.log"
        gunicorn = Worker(config, *SETTINGS, EVENT_LOG=str(log))
        started.append(gunicorn)
        gunicorn.wait_ready()
        site = Site(gunicorn, log)
        assert site.do("/set", {"name": "anna"}).status_code == 200
        return site

    yield run
    for gunicorn in started:
        gunicorn.stop()
        sys.stdout.write(gunicorn.log.decode())  # seen when a test fails


def secrets_in(site, text):
    """Return what must not be in a log, as far as *text* holds it."""
    sid = site.cookie.partition(".")[0]
    return [secret for secret in (CARD, sid) if secret in text]


def test_raise_fails_the_request_and_every_worker_has_the_last_good_copy(start):
    site = start("raise")

    response = site.do("/unserializable/cart", {"name": "eve"})

    assert response.status_code == 500
    assert list(site.seen().values()) == [{"name": "anna"}] * WORKERS
    site.gunicorn.stop()
    log = site.gunicorn.log.decode()
    assert re.search(
        r"SerializationError: session attribute 'cart\[1\]\.lock' \(_thread\.lock\) set in"
        r" endpoint 'set_unserializable' cannot be stored: not a type the codec takes\. Store"
        r" plain data",
        log,
    )
    assert secrets_in(site, log) == []


def test_local_keeps_it_in_one_worker_and_the_others_have_the_last_good_copy(start):
    site = start("local")

    response = site.do("/unserializable/cart", {"city": "Ulm"})

    assert response.status_code == 200
    pid = response.json()["pid"]
    seen = site.seen()
    assert seen.pop(pid) == {
        "name": "anna",
        "city": "Ulm",
        "cart": [1, {"lock": "lock", "card": CARD}],
    }
    assert list(seen.values()) == [{"name": "anna", "city": "Ulm"}] * (WORKERS - 1)
    (line,) = site.said("attribute_kept_local")
    assert "'cart[1].lock' (_thread.lock)" in line
    assert "every other worker goes on with the last copy" in line
    assert secrets_in(site, line) == []

    site.do("/set", {"cart": [2]})

    everywhere = {"name": "anna", "city": "Ulm", "cart": [2]}
    assert list(site.seen().values()) == [everywhere] * WORKERS


def test_stop_asks_to_stop_and_keeps_it_in_one_worker(start):
    site = start("stop")
    assert site.said("distribution_stop_asked") == []

    response = site.do("/unserializable/cart", {"city": "Ulm"})

    assert response.status_code == 200
    pid = response.json()["pid"]
    seen = site.seen()
    assert seen.pop(pid)["cart"] == [1, {"lock": "lock", "card": CARD}]
    assert list(seen.values()) == [{"name": "anna", "city": "Ulm"}] * (WORKERS - 1)
    (line,) = site.said("distribution_stop_asked")
    assert "'cart[1].lock' (_thread.lock)" in line
    assert "until an operator resumes" in line
    assert secrets_in(site, line) == []


def test_blacklist_stores_none_for_all_workers_and_logs_once_in_each(start):
    site = start("blacklist")

    response = site.do("/unserializable/cart", {"city": "Ulm"})

    assert response.status_code == 200
    expected = {"name": "anna", "city": "Ulm", "cart": None}
    assert list(site.seen().values()) == [expected] * WORKERS
    (line,) = site.said("attribute_blacklisted")
    assert "'cart[1].lock' (_thread.lock)" in line
    assert "None is stored in its place" in line
    assert secrets_in(site, line) == []

    for _ in range(20):
        site.do("/unserializable/cart", {"city": "Ulm"})
    assert 1 <= len(site.said("attribute_blacklisted")) <= WORKERS
