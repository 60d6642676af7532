"""Every worker shows the same fleet at any time, and what it shows does not go back and forth."""

from __future__ import annotations

import time

import pytest
from support.sites import Sites

from flask_msm.testing.memcached import PATIENCE, wait_until
from harness.memcached import Memcached


pytestmark = pytest.mark.memcached

STATE = "/msm-admin/api/v1/state"
#: How often each worker is asked, seconds.
OFTEN = 0.1


@pytest.fixture
def four(tmp_path):
    """Four workers with a port each, that no session has met yet."""
    with (
        Memcached() as n1,
        Memcached() as n2,
        Memcached() as n3,
        Sites([n1, n2, n3], tmp_path, MSM_ADMIN=True) as sites,
    ):
        for site in sites.add("a", "b", "c", "d"):
            site.open()
        yield sites


class Asker:
    """Asks one worker after the other, and keeps what they answered in this order."""

    def __init__(self, sites) -> None:
        self.sites = sites.sites
        self.answers = []

    def ask(self, holds, what) -> None:
        """Ask until *holds* is true of an answer of each worker in a row."""
        until, row = time.monotonic() + PATIENCE, 0
        while row < len(self.sites):
            assert time.monotonic() < until, (
                what,
                self.of(lambda state: state["verdict"]["title"]),
            )
            site = self.sites[len(self.answers) % len(self.sites)]
            state = site.ask(STATE).json()
            self.answers.append(state)
            row = row + 1 if holds(state) else 0
            time.sleep(OFTEN / len(self.sites))

    def of(self, what) -> list:
        """Return what the answers said, what was said several times in a row once."""
        found = [what(state) for state in self.answers]
        return [one for before, one in zip([None, *found], found, strict=False) if one != before]


def node(name, fact):
    return lambda state: next(node[fact] for node in state["nodes"] if node["id"] == name)


def title(state):
    return state["verdict"]["title"]


def is_fine(state):
    return state["verdict"]["level"] == "ok" and state["observer"]["complete"]


def test_a_death_and_a_return_are_the_same_story_from_all_workers(four):
    asker = Asker(four)
    wait_until(
        lambda: four.sites[0].ask(STATE).json()["observer"]["workers_known"] == len(four.sites),
        "a worker is known from its first request, of any kind",
    )
    asker.ask(is_fine, "all is well")
    four.nodes[1].kill()
    asker.ask(lambda state: state["verdict"]["code"] == "nodes_down", "n2 is down")
    four.nodes[1].start()
    asker.ask(is_fine, "n2 is back")
    whole = len(asker.answers)
    while len(asker.answers) < whole + 4 * len(four.sites):
        asker.ask(is_fine, "it stays so")

    assert asker.of(node("n2", "phase")) == ["up", "down", "filling", "up"]
    for other in ("n1", "n3"):
        assert asker.of(node(other, "phase")) == ["up"]
    titles = asker.of(title)
    assert titles[1:3] == ["n2 is down. No user was signed out", "n2 is being filled"]
    assert len(titles) == 4, titles
    assert len(asker.of(lambda state: state["verdict"]["code"])) == 4
    assert asker.of(lambda state: state["observer"]["workers_seen"]) == [len(four.sites)]
    assert asker.of(lambda state: state["observer"]["source"]) == ["fleet"]
    assert asker.of(lambda state: state["mode"]) == ["distributed"]


def test_whenever_check_says_safe_status_finds_nothing_wrong(four):
    site, codes = four.sites[0], []

    def is_safe():
        codes.append(site.invoke("check").exit_code)
        if codes[-1] == 0:
            status = site.invoke("status")
            assert status.exit_code == 0, status.output
        return codes[-1] == 0

    wait_until(is_safe, "all is well")
    four.nodes[1].kill()
    assert not is_safe()
    waited = site.invoke("check").output
    four.nodes[1].start()
    wait_until(is_safe, "n2 is whole, and every worker knows it")
    for _ in range(10):
        assert is_safe()

    assert "waits: n2 " in waited
    assert site.invoke("check").output.splitlines()[-1] == "safe to restart the next node"
