"""All nodes are gone, and come back: real nodes and real workers, on one host and on several."""

from __future__ import annotations

import signal
import time

import pytest
import requests
from flask import Flask
from support.fleet import Fleet
from support.patience import NOTICES
from support.workers import Browser

from flask_msm import MemcachedSessionManager
from flask_msm.testing.memcached import wait_until


#: Time in seconds between two probes.
INTERVAL = 0.2


class Site(Fleet):
    """Three nodes and workers on several hosts: a host is a folder of its own."""

    def __init__(self, folder) -> None:
        super().__init__(
            folder,
            MSM_PROBE_INTERVAL=INTERVAL,
            MSM_RECOVERY_THRESHOLD=1,
            MSM_PROBE_MAX_BACKOFF=INTERVAL,
            **NOTICES,
        )
        self.folder = folder

    def on(self, host, **config):
        """Return the configuration of a worker of *host*."""
        return {**self.config_for(), "MSM_LOCAL_DIR": str(self.folder / host), **config}

    def kept(self, host):
        """Return how many sessions *host* keeps."""
        return sum(len(path.name) == 40 for path in (self.folder / host).glob("*/sessions/*"))

    def waiting(self, host):
        """Return how many sessions *host* still has to hand over."""
        return len(list((self.folder / host).glob("*/journal/*")))

    def wait_mirrored(self, host, count):
        wait_until(lambda: self.kept(host) >= count, f"{host} keeps {count} sessions")

    def wait_handed_over(self, *hosts):
        wait_until(lambda: not any(map(self.waiting, hosts)), "all is handed over")

    def kill_nodes(self):
        for node in self.nodes.values():
            node.kill()

    def restart_nodes(self):
        for node in self.nodes.values():
            node.restart()

    def pause_nodes(self):
        for node in self.nodes.values():
            node.pause()

    def resume_nodes(self):
        for node in self.nodes.values():
            node.resume()

    def wait_local(self):
        """Wait until a worker has noticed that all nodes are gone."""
        wait_until(
            lambda: any("no node can be reached" in entry.text for entry in self.entries()),
            "a worker notices it",
        )

    def choose(self, name, value):
        """Let an operator choose something, and bring it to the nodes."""
        app = Flask("worker")
        app.config.update({**self.on("operator"), "MSM_LOCAL_CACHE": "simple"})
        manager = MemcachedSessionManager(app)
        cluster = app.extensions["msm"].parts.cluster
        try:
            cluster.monitor.begin()
            cluster.control.choose(name, value, who="anna", why="")
            cluster.monitor.tick()
        finally:
            manager.close(app)


@pytest.fixture
def site(tmp_path, memcached):
    with Site(tmp_path) as made:
        made.add_nodes("n1", "n2", "n3")
        yield made
        assert made.troubles() == []


def visitors(worker, count, **values):
    """Return browsers with a session each."""
    found = [Browser() for _ in range(count)]
    for number, browser in enumerate(found):
        browser.ask(worker, "/set", {"number": number, **values})
    return found


def test_changes_and_logouts_of_an_outage_stand_when_nodes_return_with_old_data(site):
    here, there = site.start(site.on("a"), site.on("b"))
    browsers = visitors(here, 6)
    for browser in browsers:
        browser.read(there)
    old = [browser.cookie() for browser in browsers]
    site.pause_nodes()
    for browser in browsers[:3]:
        browser.ask(here, "/logout", {})
    for browser in browsers[3:]:
        browser.ask(here, "/set", {"more": 1})

    site.resume_nodes()

    for number, cookie in enumerate(old[:3]):
        assert requests.get(here.url + "/get", cookies=cookie, timeout=60).json() == {}, number
    site.wait_handed_over("a", "b")

    def heard() -> bool:
        # A host whose nodes are not back yet still reads its own copies.
        answers = [requests.get(there.url + "/get", cookies=one, timeout=60) for one in old[:3]]
        return all(answer.json() == {} for answer in answers)

    wait_until(heard, "the other host has heard of the logouts")
    end = time.monotonic() + 4 * INTERVAL
    while time.monotonic() < end:
        for worker in (here, there):
            for cookie in old[:3]:
                assert requests.get(worker.url + "/get", cookies=cookie, timeout=60).json() == {}
    for number, browser in enumerate(browsers[3:], 3):
        assert browser.read(there) == browser.read(here) == {"number": number, "more": 1}


def test_a_logout_before_an_outage_stands_against_a_mirror_on_another_host(site):
    here, there = site.start(site.on("a"), site.on("b"))
    browsers = visitors(there, 5)
    site.wait_mirrored("b", 6)
    old = [browser.cookie() for browser in browsers]
    for browser in browsers:
        browser.ask(here, "/logout", {})
    site.wait_mirrored("a", 6)
    site.kill_nodes()
    site.wait_local()

    site.restart_nodes()

    def is_over():
        site.wait_handed_over("a", "b")
        return all(
            requests.get(there.url + "/get", cookies=cookie, timeout=60).json() == {}
            for cookie in old
        )

    wait_until(is_over, "the logouts are known")
    site.wait_all_up()
    (fresh,) = site.start(site.on("fresh"))
    for worker in (here, there, fresh):
        for cookie in old:
            assert requests.get(worker.url + "/get", cookies=cookie, timeout=60).json() == {}


def test_workers_and_nodes_that_are_restarted_at_once_lose_nothing(site):
    (worker,) = site.start(site.on("a"))
    browsers = visitors(worker, 20)
    site.wait_mirrored("a", 21)
    site.kill_nodes()
    for browser in browsers[:10]:
        browser.ask(worker, "/set", {"more": 1})
    worker.stop(signal.SIGKILL)

    site.restart_nodes()
    (again,) = site.start(site.on("a"))

    for number, browser in enumerate(browsers):
        expected = {"number": number, "more": 1} if number < 10 else {"number": number}
        assert browser.read(again) == expected
    site.wait_handed_over("a")
    site.wait_all_up()
    (fresh,) = site.start(site.on("fresh"))
    assert [browser.read(fresh)["number"] for browser in browsers] == list(range(20))


def test_two_hosts_hand_over_the_same_sessions(site):
    here, there = site.start(site.on("a"), site.on("b"))
    browsers = visitors(here, 5)
    for browser in browsers:
        browser.read(there)
    site.wait_mirrored("b", 6)
    site.kill_nodes()
    for browser in browsers:
        browser.ask(here, "/set", {"here": 1})
        browser.ask(there, "/set", {"there": 1})

    site.restart_nodes()
    site.wait_handed_over("a", "b")
    site.wait_all_up()

    (fresh,) = site.start(site.on("fresh"))
    for number, browser in enumerate(browsers):
        assert browser.read(fresh) == {"number": number, "here": 1, "there": 1}


def test_the_policy_chosen_at_run_time_decides_what_happens_to_changes(site):
    (worker,) = site.start(site.on("a"))
    browsers = visitors(worker, 3)
    site.wait_all_up()
    for choice, expected in (("discard", {}), ("promote", {"during": "promote"})):
        site.choose("on_reconnect", choice)
        began = time.time()
        site.pause_nodes()
        site.wait_entry("sessions are kept on this host", began)
        for browser in browsers:
            browser.ask(worker, "/set", {"during": choice})
        if choice == "discard":
            old = browsers.pop().cookie()
            requests.post(worker.url + "/logout", cookies=old, timeout=60)

        site.resume_nodes()
        site.wait_handed_over("a")
        site.wait_all_up()

        for number, browser in enumerate(browsers):
            assert browser.read(worker) == {"number": number, **expected}
        assert requests.get(worker.url + "/get", cookies=old, timeout=60).json() == {}
