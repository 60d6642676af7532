"""Two real workers on two hosts over three real nodes, for an operator to look after."""

from __future__ import annotations

import re
from contextlib import ExitStack, contextmanager

import pytest

from flask_msm.testing.memcached import wait_until
from harness.memcached import Memcached

from .operator import ANNA, POLL
from .receiver import Receiver
from .sites import Sites


#: Seconds between two probes, and between two polls of a page.
INTERVAL, QUICK = 1.0, 0.25
SECRET = "a-secret-of-sixteen"
#: A node that hangs is noticed, and a machine that is busy makes none suspect: seconds. Above the
#: interval, workers would be late with their reports while a node hangs.
LIMITS = {"MSM_TIMEOUT": 1, "MSM_CONNECT_TIMEOUT": 1, "MSM_REQUEST_DEADLINE": 3}


@contextmanager
def stage(folder):
    """Run the fleet; ``receiver`` of what is given is told of each change of the verdict."""
    with ExitStack() as stack:
        stack.enter_context(pytest.MonkeyPatch.context()).setenv(POLL, str(QUICK))
        receiver = Receiver()
        stack.callback(receiver.close)
        config = {
            "MSM_PROBE_INTERVAL": INTERVAL,
            "MSM_PROBE_MAX_BACKOFF": INTERVAL,
            "MSM_ADMIN": True,
            "MSM_ADMIN_ACCESS": ANNA,
            "MSM_ENVIRONMENT": "test",
            "MSM_ON_ALERT": receiver.address,
            "MSM_ALERT_SECRET": SECRET,
            **LIMITS,
        }
        nodes = [stack.enter_context(Memcached()) for _ in range(3)]
        fleet = stack.enter_context(Sites(nodes, folder, **config))
        fleet.receiver = receiver
        fleet.add("one", "other")
        fleet.start()
        fleet.wait_all_up()
        yield fleet
        assert fleet.troubles() == []


def signed_in(site, **values):
    """Return the cookie and the ref of a user who signed in."""
    cookie = site.store({"user": "anna", **values})
    return cookie, site.ask("/where", cookie=cookie).json()["ref"]


def is_signed_in(site, cookie):
    return bool(site.ask("/shown", cookie=cookie).json()["values"])


def outages(site):
    """Return begin and nodes of each outage that is over, as a worker has written them down."""
    history = site.ask("/msm-admin/api/v1/history?range=24h").json()
    return [(outage["begin"], outage["nodes"]) for outage in history["outages"] if outage["end"]]


def written_down(site, node, before):
    """Wait until the history of a worker has an outage of *node* that is not among *before*."""
    wait_until(
        lambda: any(nodes == [node] for _, nodes in outages(site)[len(before) :]),
        f"the outage of {node} is written down",
    )


def alert_of_death(fleet, number):
    """Kill a node; return the alert of that, and the cause in it that leads to the node's page."""
    fleet.receiver.requests.clear()
    fleet.nodes[number].kill()
    found = []

    def has_come():
        found[:] = [
            (told, cause)
            for told in fleet.receiver.bodies()
            for cause in told["attention"]
            if told["code"] == "nodes_down" and cause["href"] == f"nodes/n{number + 1}"
        ]
        return found

    wait_until(has_come, "the alert")
    return found[0]


def is_time(text):
    """Return whether *text* is a time with its date, or since when something lasts."""
    return re.search(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d|\d+ (?:s|min|h)\b|just now", text) is not None
