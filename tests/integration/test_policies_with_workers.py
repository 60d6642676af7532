"""Each policy with real workers and two real nodes: behaviour, log, and what others read."""

from __future__ import annotations

import re

import pytest
from support.town import COOKIE, WORKERS


pytestmark = pytest.mark.memcached

CARD = "4111111111111111"


@pytest.fixture
def start(town_of):
    """Start workers of a policy; return their site and the cookie of a session."""

    def run(policy):
        (site,) = town_of(sites=1, MSM_SERIALIZATION_POLICY=policy).sites
        return site, site.store({"name": "anna"})

    return run


def do(site, cookie, path, body):
    """Ask some worker; return its answer and the cookie that the browser has then."""
    response = site.ask(path, body, cookie=cookie)
    return response, response.cookies.get(COOKIE) or cookie


def seen(site, cookie):
    """Return what the session holds, by worker."""
    answers = site.answers("/shown", cookie)
    return {pid: answer["values"] for pid, answer in answers.items()}


def secrets_in(cookie, text):
    """Return what must not be in a log, as far as *text* holds it."""
    sid = cookie.partition(".")[0]
    return [secret for secret in (CARD, sid) if secret in text]


def test_raise_fails_the_request_and_every_worker_has_the_last_good_copy(start):
    site, cookie = start("raise")

    response = site.ask("/unserializable/cart", {"name": "eve"}, cookie=cookie)

    assert response.status_code == 500
    assert list(seen(site, cookie).values()) == [{"name": "anna"}] * WORKERS
    log = site.stop()
    assert re.search(
        r"SerializationError: session attribute 'cart\[1\]\.lock' \(_thread\.lock\) set in"
        r" endpoint 'set_unserializable' cannot be stored: not a type the codec takes\. Store"
        r" plain data",
        log,
    )
    assert secrets_in(cookie, log) == []


def test_local_keeps_it_in_one_worker_and_the_others_have_the_last_good_copy(start):
    site, cookie = start("local")

    response, cookie = do(site, cookie, "/unserializable/cart", {"city": "Ulm"})

    assert response.status_code == 200
    pid = response.json()["pid"]
    found = seen(site, cookie)
    assert found.pop(pid) == {
        "name": "anna",
        "city": "Ulm",
        "cart": [1, {"lock": "lock", "card": CARD}],
    }
    assert list(found.values()) == [{"name": "anna", "city": "Ulm"}] * (WORKERS - 1)
    (line,) = site.said("attribute_kept_local")
    assert "'cart[1].lock' (_thread.lock)" in line
    assert "every other worker goes on with the last copy" in line
    assert secrets_in(cookie, line) == []

    _, cookie = do(site, cookie, "/set", {"cart": [2]})

    everywhere = {"name": "anna", "city": "Ulm", "cart": [2]}
    assert list(seen(site, cookie).values()) == [everywhere] * WORKERS


def test_stop_asks_to_stop_and_keeps_it_in_one_worker(start):
    site, cookie = start("stop")
    assert site.said("distribution_stop_asked") == []

    response, cookie = do(site, cookie, "/unserializable/cart", {"city": "Ulm"})

    assert response.status_code == 200
    pid = response.json()["pid"]
    found = seen(site, cookie)
    assert found.pop(pid)["cart"] == [1, {"lock": "lock", "card": CARD}]
    assert list(found.values()) == [{"name": "anna", "city": "Ulm"}] * (WORKERS - 1)
    (line,) = site.said("distribution_stop_asked")
    assert "'cart[1].lock' (_thread.lock)" in line
    assert "until an operator resumes" in line
    assert secrets_in(cookie, line) == []


def test_blacklist_stores_none_for_all_workers_and_logs_once_in_each(start):
    site, cookie = start("blacklist")

    response, cookie = do(site, cookie, "/unserializable/cart", {"city": "Ulm"})

    assert response.status_code == 200
    expected = {"name": "anna", "city": "Ulm", "cart": None}
    assert list(seen(site, cookie).values()) == [expected] * WORKERS
    (line,) = site.said("attribute_blacklisted")
    assert "'cart[1].lock' (_thread.lock)" in line
    assert "None is stored in its place" in line
    assert secrets_in(cookie, line) == []

    for _ in range(20):
        site.ask("/unserializable/cart", {"city": "Ulm"}, cookie=cookie)
    assert 1 <= len(site.said("attribute_blacklisted")) <= WORKERS
