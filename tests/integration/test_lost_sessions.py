"""Every user is signed out, in three ways, and every node is up: the fleet is red, and says why."""

from __future__ import annotations

import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields

import pytest
from flask import Flask

from flask_msm import MemcachedSessionManager
from flask_msm.operations.snapshot import Snapshot
from flask_msm.operations.state.attention import Item, attention
from flask_msm.operations.state.verdict import verdict
from flask_msm.record.token import Token, TokenSigner, new_sid
from flask_msm.settings.settings import Settings
from flask_msm.testing.memcached import wait_until


pytestmark = pytest.mark.memcached

VISITORS, LOST = 60, 40
#: Time in seconds between two probes unless something else is configured.
DEFAULT_INTERVAL = next(
    field.default for field in fields(Settings) if field.name == "probe_interval"
)
#: Time in seconds that is given to one request, and one look, more.
ONE_REQUEST = 0.5


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


def restart_empty(fleet):
    """Restart all nodes and hosts without anything they had."""
    fleet.stop()
    for site in fleet.sites:
        shutil.rmtree(site.storage)
    for node in fleet.nodes:
        node.restart()
    fleet.start()
    fleet.wait_all_up()


def change_secret(fleet):
    """Restart all workers with another secret."""
    fleet.stop()
    for site in fleet.sites:
        site.config["SECRET_KEY"] = "another " * 4
    fleet.start()


def of_two_nodes(site):
    """Return the cookies of enough users whose sessions only n1 and n2 have, and of others."""

    def is_there(cookie):
        return {"n1", "n2"} == set(site.ask("/where", cookie=cookie).json()["homes"])

    # Two of five nodes are the homes of a tenth of all sessions.
    cookies = sign_in(site, 10 * LOST)
    there = together(is_there, cookies)
    found = [cookie for cookie, is_one in zip(cookies, there, strict=True) if is_one]
    others = [cookie for cookie, is_one in zip(cookies, there, strict=True) if not is_one]
    while len(found) < LOST:
        found += [cookie for cookie in sign_in(site, 8) if is_there(cookie)]
    return found[:LOST], others


def shown(site):
    """Return who answers, how all is, and what is wrong."""
    state = site.ask("/msm-admin/api/v1/state").json()
    causes = " ".join(item["title"] + item["text"] for item in state["attention"])
    return state["observer"]["worker"], state["verdict"]["level"], causes


def typed(site):
    """Return the same as the command line shows it."""
    found = seen(site)
    causes = " ".join(item.title + item.text for item in attention(found))
    return "status", verdict(found).level, causes


def must_be_red_in_time(fleet, cause):
    """Check that from a probe interval on each look at each worker is red, and names *cause*."""
    over = time.monotonic() + DEFAULT_INTERVAL + ONE_REQUEST
    while time.monotonic() < over:
        # What was put together for one look is shown to others that come soon after.
        together(shown, fleet.sites)
    found = [typed(site) for site in fleet.sites]

    def all_answered():
        for site in fleet.sites:
            found.extend(together(lambda _, site=site: shown(site), range(4 * site.workers)))
        workers = sum(site.workers for site in fleet.sites)
        return len({who for who, _, _ in found}) == workers + 1

    wait_until(all_answered, "every worker answers")
    looks = [(who, level, cause in causes) for who, level, causes in found]
    assert {look[1:] for look in looks} == {("bad", True)}, looks


def sites_of_the_default(sites_of, *names, **more):
    return sites_of(
        names,
        MSM_ADMIN=True,
        MSM_PROBE_INTERVAL=DEFAULT_INTERVAL,
        MSM_PROBE_MAX_BACKOFF=DEFAULT_INTERVAL,
        **more,
    )


@pytest.mark.parametrize(
    ("names", "happens", "cause"),
    [
        (["north"], restart_empty, "n1, n2 and n3 were restarted or flushed"),
        (["north", "south"], restart_empty, "n1, n2 and n3 were restarted or flushed"),
        (["north"], change_secret, "SECRET_KEY was changed"),
    ],
)
def test_a_probe_interval_after_users_were_signed_out_every_look_is_red(
    sites_of, names, happens, cause
):
    fleet = sites_of_the_default(sites_of, *names, nodes=3)
    cookies = sign_in(fleet.sites[0], VISITORS)
    happens(fleet)

    # At one host only: what the others show, they have heard.
    assert visit(fleet.sites[0], cookies[:LOST]) == 0

    must_be_red_in_time(fleet, cause)


def test_a_probe_interval_after_both_homes_of_some_were_flushed_every_look_is_red(sites_of):
    fleet = sites_of_the_default(sites_of, "north", nodes=5, MSM_MIRROR=False)
    lost, kept = of_two_nodes(fleet.sites[0])
    for node in fleet.nodes[:2]:
        node.flush()

    assert visit(fleet.sites[0], [*lost, *kept[: VISITORS - LOST]]) == VISITORS - LOST

    must_be_red_in_time(fleet, "n1 and n2")


def test_nodes_and_hosts_that_were_all_restarted_empty_are_named(sites_of):
    north = sites_of(["north"], nodes=3)
    (site,) = north.sites
    cookies = sign_in(site, VISITORS)
    assert visit(site, cookies) == VISITORS

    restart_empty(north)
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

    change_secret(north)
    assert visit(site, cookies[:LOST]) == 0

    item = red(site, "lost_key_unknown")
    assert "SECRET_KEY was changed" in item.text
    # Reports go with the ticks.
    wait_until(lambda: seen(site).lost.key_unknown == LOST, "all of them are counted")


def test_both_homes_of_a_tenth_of_the_sessions_flushed_and_no_copy_on_the_host(sites_of):
    north = sites_of(["north"], nodes=5, MSM_MIRROR=False)
    (site,) = north.sites
    lost, kept = of_two_nodes(site)
    for node in north.nodes[:2]:
        node.flush()

    assert visit(site, [*lost, *kept[: VISITORS - LOST]]) == VISITORS - LOST

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
