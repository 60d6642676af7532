"""What an operator wants to know at night, at a shell: the ten tasks, each by one command.

One fleet for the whole file, so each test leaves it as it found it.
"""

from __future__ import annotations

import json
import re
import shutil

import pytest
from support.operator_stage import (
    alert_of_death,
    is_signed_in,
    is_time,
    outages,
    signed_in,
    stage,
    written_down,
)

from flask_msm.testing.memcached import wait_until


pytestmark = pytest.mark.memcached


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    with stage(tmp_path_factory.mktemp("fleet")) as running:
        yield running


@pytest.fixture
def site(fleet):
    return fleet.sites[0]


def typed(site, *arguments):
    """Return what a command printed that must work."""
    done = site.invoke(*arguments)
    assert done.exit_code == 0, done.output
    return done.output


def says(site, text):
    """Wait until the status finds *text*: since when, who is hurt, what to do."""
    found = []

    def does():
        done = site.invoke("status")
        found[:] = [done.exit_code, *done.output.splitlines()]
        return any(text in line for line in found[1:])

    wait_until(does, text)
    code, *lines = found
    cause = next(number for number, line in enumerate(lines) if text in line)
    assert code == 1
    assert is_time(lines[cause].partition(", since ")[2])
    assert lines[cause + 1].startswith("  who is hurt  ")
    assert lines[cause + 2].startswith("  what to do   1. ")
    return lines[cause]


def is_well(site):
    return site.invoke("status").exit_code == 0


def test_the_status_names_a_node_that_died(fleet, site):
    """Task 1."""
    fleet.nodes[2].kill()
    assert "refused" in says(site, "n3 is down: ")
    fleet.nodes[2].start()
    wait_until(lambda: is_well(site), "n3 is back")


def test_check_waits_until_the_next_node_of_a_round_may_be_restarted(fleet, site):
    """Task 3."""
    cookies = [signed_in(site)[0] for _ in range(6)]
    for node in fleet.nodes:
        node.restart()
        checked = typed(site, "check", "--all-up", "--timeout", "60")
        assert checked.splitlines()[-1] == "safe to restart the next node"

    assert all(is_signed_in(fleet.sites[1], cookie) for cookie in cookies)


def test_the_status_tells_a_node_that_hangs_from_one_that_is_dead(fleet, site):
    """Task 2."""
    fleet.nodes[0].pause()
    try:
        assert "refused" not in says(site, "n1 is down: ")
    finally:
        fleet.nodes[0].resume()
    wait_until(lambda: is_well(site), "n1 is back")


def test_a_policy_is_changed_for_all_workers_and_changed_back(fleet, site):
    """Task 4."""
    typed(site, "policy", "local", "--reason", "until the fix is out", "--as", "ann", "--wait")
    assert {other.ask("/obeys").json()["policy"] for other in fleet.sites} == {"local"}
    assert "local (configured: raise, chosen by ann)" in typed(site, "policy")

    typed(site, "policy", "config", "--wait")
    assert {other.ask("/obeys").json()["policy"] for other in fleet.sites} == {"raise"}

    def changes():
        return [line for line in typed(site, "history").splitlines() if "raise -> local" in line]

    # The workers write it down with their next tick.
    wait_until(changes, "it is in the history", 30)
    (change,) = changes()
    assert "by ann (until the fix is out)" in change
    assert is_time(change)


def test_why_a_session_ended_is_the_answer_to_its_ref(fleet, site):
    """Task 5."""
    cookie, ref = signed_in(site)
    site.ask("/logout", {}, cookie=cookie)

    answer = fleet.sites[1].invoke("session", ref).output

    assert re.search(r"^Signed out by its owner at \d{4}-", answer, re.MULTILINE)
    assert "Nothing failed: this was meant." in answer


def test_an_attribute_that_cannot_be_stored_is_listed_with_what_and_how_often(site):
    """Task 6."""
    # With the default policy the request fails: its user saw an error.
    assert site.ask("/unserializable/upload", {}).status == 500
    wait_until(lambda: "upload" in typed(site, "blacklist"), "it is listed")

    (entry,) = json.loads(typed(site, "blacklist", "--json"))["blacklist"]

    assert (entry["key"], entry["type"]) == ("upload", "_thread.lock")
    assert "set_unserializable" in json.dumps(entry)


def test_a_stolen_session_is_ended_and_says_by_whom_and_why(fleet, site):
    """Task 7."""
    cookie, ref = signed_in(site)

    typed(site, "revoke", ref, "--reason", "stolen laptop", "--as", "ann")

    wait_until(lambda: not is_signed_in(fleet.sites[1], cookie), "the thief is signed out")
    answer = fleet.sites[1].invoke("session", ref).output
    assert re.search(r"^Ended by ann at \d{4}-.*, because of .stolen laptop.", answer, re.MULTILINE)


def test_history_is_there_after_all_workers_then_all_nodes_then_a_host_were_restarted(fleet, site):
    """Task 8."""
    earlier = outages(site)
    fleet.nodes[2].kill()
    says(site, "n3 is down: ")
    fleet.nodes[2].start()
    wait_until(lambda: is_well(site), "n3 is back")
    # A worker writes down what has ended with one of its next ticks.
    written_down(site, "n3", earlier)
    before = outages(site)

    fleet.stop()
    fleet.start()
    fleet.wait_all_up()
    wait_until(lambda: outages(site)[: len(before)] == before, "a worker reads it back")

    for node in fleet.nodes:
        node.restart()
    fleet.wait_all_up()
    wait_until(lambda: outages(site)[: len(before)] == before, "a host writes it back")

    _, south = fleet.sites
    south.stop()
    shutil.rmtree(south.storage)
    fleet.start(south)
    fleet.wait_all_up()
    wait_until(lambda: outages(south)[: len(before)] == before, "it learns it from the others")
    assert re.search(r"outage  n3 \(.*\), until \d{4}.* sessions lost", typed(south, "history"))


def test_whether_it_gets_worse_is_a_line_of_the_history(site):
    """Task 9."""
    signed_in(site)

    def printed():
        return typed(site, "history", "--range", "15m")

    # A step of half a minute has to be over.
    wait_until(lambda: printed().count("at first") > 1, "numbers of both lines are known")
    time, found, _ = printed().splitlines()[-3:]
    of = r".* at first, .* in the middle, .* at last$"
    assert re.match(r"time per request, 95 of 100: at most [\d.]+ ms" + of, time)
    assert re.match(r"sessions found: [\d.]+ %" + of, found)


def test_an_alert_says_since_when_who_is_hurt_and_what_to_do(fleet, site):
    """Task 10."""
    told, cause = alert_of_death(fleet, 1)

    assert "n2" in told["text"]
    assert is_time(told["since"])
    assert is_time(cause["since"])
    assert cause["hurt"]
    assert cause["steps"]
    # The other worker may have told it.
    wait_until(lambda: not is_well(site), "this one knows it as well")
    fleet.nodes[1].start()
    wait_until(lambda: is_well(site), "n2 is back")
