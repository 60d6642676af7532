"""Real workers of one host with sticky sessions: killed, stopped, ended, all of them gone."""

from __future__ import annotations

import os
import signal

import pytest
from support.sites import Browser, Sites
from support.storage import age

from flask_msm.storage.local.journal_takeover import STOPPED
from flask_msm.testing.memcached import wait_until


pytestmark = pytest.mark.memcached


class Staff:
    """The workers of one host, each behind a port of its own."""

    def __init__(self, sites) -> None:
        self.sites = sites
        self.folder = sites.folder / "host"

    def hire(self, *, host="host", **config):
        (worker,) = self.sites.add(
            f"worker {len(self.sites.sites)}",
            **{
                "MSM_STICKY": True,
                "MSM_NEAR_MAX_AGE": 600,
                "MSM_LOCAL_DIR": str(self.folder.with_name(host)),
                **config,
            },
        )
        worker.open()
        worker.pid = int(Browser().ask(worker, "/pid").text)
        return worker

    def journals(self):
        return sorted(self.folder.glob("*/changes/*.changes"))

    def signal_nodes(self, number) -> None:
        for node in self.sites.nodes:
            os.kill(node.pid, number)

    def pause_nodes(self) -> None:
        self.signal_nodes(signal.SIGSTOP)

    def resume_nodes(self) -> None:
        self.signal_nodes(signal.SIGCONT)

    def reported(self, kind: str) -> list[str]:
        """Return what all workers reported of that kind."""
        return [text for site in self.sites.sites for text in site.logged(f"{kind}: ")]


@pytest.fixture
def staff(memcached, tmp_path):
    with Sites([memcached() for _ in range(2)], tmp_path) as sites:
        made = Staff(sites)
        try:
            yield made
        finally:
            made.resume_nodes()


def begin(staff, worker) -> Browser:
    """Return a browser whose session is in the memory of *worker* and at the nodes."""
    browser = Browser()
    browser.ask(worker, "/set", {"name": "anna"})
    browser.read(worker)
    browser.ask(worker, "/set", {"cart": ["apple"]})
    wait_until(lambda: not staff.journals(), "the nodes have it")
    return browser


def leave_change(staff, worker, browser) -> None:
    """Have a change acknowledged that is in the journal of *worker* only."""
    staff.pause_nodes()
    browser.ask(worker, "/set", {"last": 1})
    assert len(staff.journals()) == 1


EVERYTHING = {"name": "anna", "cart": ["apple"], "last": 1}


def test_the_last_change_of_a_killed_worker_is_shown_by_the_next_and_taken_over_once(staff):
    killed, one, other = staff.hire(), staff.hire(), staff.hire()
    browser = begin(staff, killed)
    leave_change(staff, killed, browser)
    killed.kill()
    staff.resume_nodes()

    assert browser.read(one) == EVERYTHING
    assert browser.read(other) == EVERYTHING
    wait_until(lambda: not staff.journals(), "the journal is taken over")
    far = staff.hire(host="far", MSM_STICKY=False)
    wait_until(lambda: browser.read(far) == EVERYTHING, "the nodes have it")
    assert [line.rpartition(" [")[0] for line in staff.reported("journal_taken_over")] == [
        "journal_taken_over: 1 changes of workers that ended or were stopped were taken over"
    ]


def test_a_stopped_worker_keeps_its_journal_and_goes_on_where_it_stood(staff):
    stopped, other = staff.hire(), staff.hire()
    browser = begin(staff, stopped)
    leave_change(staff, stopped, browser)
    os.kill(stopped.pid, signal.SIGSTOP)
    staff.resume_nodes()
    (journal,) = staff.journals()

    assert browser.read(other) == EVERYTHING
    browser.ask(other, "/set", {"other": 2})
    age(journal, STOPPED + 1)
    far = staff.hire(host="far", MSM_STICKY=False)
    wait_until(lambda: browser.read(far) == {**EVERYTHING, "other": 2}, "the nodes have it")
    assert journal in staff.journals()

    os.kill(stopped.pid, signal.SIGCONT)
    assert browser.read(stopped) == {**EVERYTHING, "other": 2}
    browser.ask(stopped, "/set", {"last": 3})
    assert browser.read(other) == {**EVERYTHING, "other": 2, "last": 3}
    wait_until(lambda: not staff.journals(), "it handed over what it had")
    assert browser.read(stopped) == {**EVERYTHING, "other": 2, "last": 3}


@pytest.mark.parametrize("enabled", [True, False], ids=["with the path", "without it"])
def test_what_all_workers_of_a_host_left_is_there_after_its_restart(staff, enabled):
    first = staff.hire()
    browser = begin(staff, first)
    leave_change(staff, first, browser)
    first.kill()
    staff.resume_nodes()

    second = staff.hire(MSM_FAST_PATH=enabled)

    assert browser.read(second) == EVERYTHING
    wait_until(lambda: not staff.journals(), "the journal is taken over")
    assert browser.read(second) == EVERYTHING


def test_a_worker_that_ends_leaves_no_journal_although_no_node_answers(staff):
    first = staff.hire()
    browser = begin(staff, first)
    leave_change(staff, first, browser)

    first.stop()

    assert staff.journals() == []
    staff.resume_nodes()
    assert browser.read(staff.hire(MSM_FAST_PATH=False)) == EVERYTHING
