"""Every user is signed out, in three ways, and every node is up: the fleet is red, and says why."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest
from flask import Flask

from flask_msm import MemcachedSessionManager
from flask_msm.operations.snapshot import Snapshot
from flask_msm.operations.state.attention import Item, attention
from flask_msm.operations.state.verdict import verdict
from flask_msm.record.token import Token, TokenSigner, new_sid
from flask_msm.testing.memcached import wait_until


pytestmark = pytest.mark.memcached

VISITORS, LOST = 60, 40


def together(act, things):
    """Return what *act* returns for each of *things*, eight at a time."""
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(act, things))


def sign_in(site, count):
    """Return the cookies of so many users who signed in."""
    return together(lambda number: site.store({"user": number}), range(count))


def visit(site, cookies):
    """Return for how many of *cookies* a worker finds a session."""
    shown = together(lambda cookie: site.ask("/shown", cookie=cookie).json()["values"], cookies)
    return sum(map(bool, shown))


def seen(site) -> Snapshot:
    """Return the fleet as an operator at the shell sees it."""
    app = Flask("worker")
    app.config.update(site.config)
    manager = MemcachedSessionManager(app)
    console = manager.state(app).console
    try:
        console.visit()
        return console.survey()
    finally:
        manager.close(app)


def red(site, code) -> Item:
    """Wait until the fleet is red for the cause *code*; return that."""
    found: list[Item] = []

    def is_red():
        snapshot = seen(site)
        found[:] = [item for item in attention(snapshot) if item.code == code]
        return found and snapshot.lost.too_many and verdict(snapshot).level == "bad"

    wait_until(is_red, "too many sessions are lost")
    status = site.invoke("status")
    assert status.exit_code == 1
    assert ": too many" in status.output
    assert found[0].hurt
    assert found[0].steps
    return found[0]


def test_nodes_and_hosts_that_were_all_restarted_empty_are_named(sites_of):
    north = sites_of(["north"], nodes=3)
    (site,) = north.sites
    cookies = sign_in(site, VISITORS)
    assert visit(site, cookies) == VISITORS

    north.stop()
    shutil.rmtree(site.storage)
    for node in north.nodes:
        node.restart()
    north.start()
    north.wait_all_up()
    assert visit(site, cookies[:LOST]) == 0

    item = red(site, "lost_not_found")
    assert "n1, n2 and n3 were restarted or flushed" in item.text


def test_workers_with_another_secret_are_told_from_forged_cookies(sites_of):
    north = sites_of(["north"], nodes=3)
    (site,) = north.sites
    cookies = sign_in(site, VISITORS)

    def forged(_):
        signer = TokenSigner(("what a stranger made up",))
        return site.ask("/shown", cookie=signer.dumps(Token(new_sid(), 1, 1_800_000_000))).status

    assert set(together(forged, range(1000))) == {200}
    wait_until(lambda: (lost := seen(site).lost) and lost.refused > 600, "they are counted")
    lost = seen(site).lost
    assert (lost.lost, lost.too_many) == (0, False)
    assert "0 in 15 min" in site.invoke("status").output

    site.stop()
    site.config["SECRET_KEY"] = "another " * 4
    north.start()
    assert visit(site, cookies[:LOST]) == 0

    item = red(site, "lost_key_unknown")
    assert "SECRET_KEY was changed" in item.text
    # A tick looks at some of them, and reports go with the ticks.
    wait_until(lambda: seen(site).lost.key_unknown == LOST, "all of them are counted")


def test_both_homes_of_a_tenth_of_the_sessions_flushed_and_no_copy_on_the_host(sites_of):
    # Two of five nodes are the homes of a tenth of all sessions.
    north = sites_of(["north"], nodes=5, MSM_MIRROR=False)
    (site,) = north.sites
    cookies = sign_in(site, 10 * LOST)

    def is_lost(cookie):
        return {"n1", "n2"} == set(site.ask("/where", cookie=cookie).json()["homes"])

    lost = [
        cookie for cookie, gone in zip(cookies, together(is_lost, cookies), strict=True) if gone
    ]
    kept = [cookie for cookie in cookies if cookie not in lost]
    while len(lost) < LOST:
        lost += [cookie for cookie in sign_in(site, 8) if is_lost(cookie)]
    for node in north.nodes[:2]:
        node.flush()

    assert visit(site, [*lost[:LOST], *kept[: VISITORS - LOST]]) == VISITORS - LOST

    item = red(site, "lost_not_found")
    assert "n1 and n2" in item.text


def test_an_outage_of_all_nodes_counts_what_a_host_does_not_know_until_it_is_found(sites_of):
    both = sites_of(nodes=2)
    north, south = both.sites
    cookies = sign_in(north, 20)
    for node in both.nodes:
        node.kill()
    north.ask("/shown", cookie=cookies[0])
    both.wait(mode="local")
    before = visit(south, cookies)

    red(south, "lost_not_known")

    assert before == 0
    both.back()
    wait_until(lambda: not seen(south).lost.not_known, "the sessions are found again")
