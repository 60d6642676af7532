"""All nodes are gone, and come back: real nodes and real workers, on one host and on several."""

from __future__ import annotations

import time

import pytest
from flask import Flask
from support.patience import NOTICES
from support.sites import Browser, Sites

from flask_msm import MemcachedSessionManager
from flask_msm.testing.memcached import wait_until
from harness.memcached import Memcached


#: Time in seconds between two probes.
INTERVAL = 0.2


class Hosts(Sites):
    """Three nodes and hosts of one worker each."""

    def kept(self, site):
        """Return how many sessions a host keeps."""
        return sum(len(path.name) == 40 for path in site.storage.glob("*/sessions/*"))

    def wait_mirrored(self, site, count):
        wait_until(lambda: self.kept(site) >= count, f"the host keeps {count} sessions")

    def wait_handed_over(self):
        wait_until(lambda: not any(self.folder.glob("*/storage/*/journal/*")), "all handed over")

    def on_nodes(self, act):
        for node in self.nodes:
            act(node)

    def wait_entry(self, text):
        wait_until(
            lambda: any(text in entry.text for entry in self.entries()), f"a worker writes {text!r}"
        )

    def fresh(self):
        """Return a host that has met no session yet."""
        (site,) = self.add("fresh")
        self.start(site)
        return site

    def choose(self, name, value):
        """Let an operator choose something, and bring it to the nodes."""
        app = Flask("worker")
        app.config.update({**self.config, "MSM_LOCAL_CACHE": "simple"})
        manager = MemcachedSessionManager(app)
        cluster = app.extensions["msm"].parts.cluster
        try:
            cluster.monitor.begin()
            cluster.control.choose(name, value, who="anna", why="")
            cluster.monitor.tick()
        finally:
            manager.close(app)


@pytest.fixture
def hosts(tmp_path, memcached):
    times = {"MSM_PROBE_INTERVAL": INTERVAL, "MSM_PROBE_MAX_BACKOFF": INTERVAL, **NOTICES}
    with Hosts([memcached("-m", "256") for _ in range(3)], tmp_path, **times) as made:
        yield made
        assert made.troubles() == []


@pytest.fixture
def two(hosts):
    """Two hosts of one worker each."""
    sites = hosts.add("a", "b")
    hosts.start()
    return sites


def visitors(worker, count, **values):
    """Return browsers with a session each."""
    found = [Browser() for _ in range(count)]
    for number, browser in enumerate(found):
        browser.ask(worker, "/set", {"number": number, **values})
    return found


def test_changes_and_logouts_of_an_outage_stand_when_nodes_return_with_old_data(hosts, two):
    here, there = two
    browsers = visitors(here, 6)
    for browser in browsers:
        browser.read(there)
    old = [browser.cookie() for browser in browsers]
    hosts.on_nodes(Memcached.pause)
    for browser in browsers[:3]:
        browser.ask(here, "/logout", {})
    for browser in browsers[3:]:
        browser.ask(here, "/set", {"more": 1})

    hosts.on_nodes(Memcached.resume)

    for number, cookie in enumerate(old[:3]):
        assert Browser(cookie).read(here) == {}, number
    hosts.wait_handed_over()

    def heard() -> bool:
        # A host whose nodes are not back yet still reads its own copies.
        return all(Browser(one).read(there) == {} for one in old[:3])

    wait_until(heard, "the other host has heard of the logouts")
    end = time.monotonic() + 4 * INTERVAL
    while time.monotonic() < end:
        for worker in (here, there):
            for cookie in old[:3]:
                assert Browser(cookie).read(worker) == {}
    for number, browser in enumerate(browsers[3:], 3):
        assert browser.read(there) == browser.read(here) == {"number": number, "more": 1}


def test_a_logout_before_an_outage_stands_against_a_mirror_on_another_host(hosts, two):
    here, there = two
    browsers = visitors(there, 5)
    hosts.wait_mirrored(there, 6)
    old = [browser.cookie() for browser in browsers]
    for browser in browsers:
        browser.ask(here, "/logout", {})
    hosts.wait_mirrored(here, 6)
    hosts.on_nodes(Memcached.kill)
    hosts.wait_entry("no node can be reached")

    hosts.on_nodes(Memcached.restart)

    def is_over():
        hosts.wait_handed_over()
        return all(Browser(cookie).read(there) == {} for cookie in old)

    wait_until(is_over, "the logouts are known")
    hosts.wait_all_up()
    fresh = hosts.fresh()
    for worker in (here, there, fresh):
        for cookie in old:
            assert Browser(cookie).read(worker) == {}


def test_the_policy_chosen_at_run_time_decides_what_happens_to_changes(hosts):
    (worker,) = hosts.add("a")
    hosts.start()
    browsers = visitors(worker, 3)
    hosts.wait_all_up()
    for choice, expected in (("discard", {}), ("promote", {"during": "promote"})):
        hosts.choose("on_reconnect", choice)
        hosts.on_nodes(Memcached.pause)
        # Not for a line of the log: that of the second time is written a minute later.
        hosts.wait(mode="local")
        for browser in browsers:
            browser.ask(worker, "/set", {"during": choice})
        if choice == "discard":
            old = browsers.pop().cookie()
            Browser(old).ask(worker, "/logout", {})

        hosts.on_nodes(Memcached.resume)
        hosts.wait_handed_over()
        hosts.wait_all_up()

        for number, browser in enumerate(browsers):
            assert browser.read(worker) == {"number": number, **expected}
        assert Browser(old).read(worker) == {}
