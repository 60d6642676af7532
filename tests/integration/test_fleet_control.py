"""What operators change reaches every real worker of two sites, with nodes and without."""

from __future__ import annotations

import json
import mmap
import sys
import threading
from pathlib import Path

import pytest

from flask_msm.operations.cli_frame import operator
from flask_msm.testing.memcached import wait_until


WORKERS = 2

pytestmark = pytest.mark.memcached

BY = {"actor": "anna", "reason": "a test", "based_on": None}


def sid(cookie: str) -> str:
    """Return the id of a session, which a cookie begins with."""
    return cookie.split(".", maxsplit=1)[0]


def values(site, cookie):
    """Return what the session holds, by each worker of a site."""
    return [answer["values"] for answer in site.answers("/shown", cookie).values()]


def test_a_policy_is_obeyed_by_every_worker_of_every_site(sites_of):
    both = sites_of()
    north, south = both.sites
    assert north.ask("/unserializable/cart", {}).status == 500

    north.command("policy", "blacklist", "--reason", "a release")
    both.wait(policy="blacklist")

    for site in both.sites:
        cookie = site.store({"name": "anna"})
        response = site.ask("/unserializable/cart", {"city": "Ulm"}, cookie=cookie)
        assert response.status == 200
        for other in both.sites:
            stored = {"name": "anna", "city": "Ulm", "cart": None}
            assert values(other, cookie) == [stored] * WORKERS

    wait_until(lambda: "4 distributed" in south.invoke("status").output, "all workers are seen")
    status = south.invoke("status").output
    assert f"blacklist (chosen by {operator()}, applied by 4 of 4)" in status
    shown = json.loads(south.invoke("workers", "--json").output)
    assert (shown["observer"]["complete"], shown["observer"]["source"]) == (True, "fleet")
    assert [row["mode"] for row in shown["workers"]] == ["distributed"] * 4
    rows = json.loads(south.invoke("nodes", "--json").output)["nodes"]
    assert [(row["id"], row["seen_up"], row["seen_by"]) for row in rows] == [
        ("n1", 4, 4),
        ("n2", 4, 4),
    ]

    def listed():
        return json.loads(south.invoke("blacklist", "--json").output)["blacklist"]

    # The request that failed before, and one for each site.
    wait_until(lambda: [row["count"] for row in listed()] == [3], "both sites are counted")
    assert listed()[0]["key"] == "cart"
    assert "cart[1].lock" in south.invoke("blacklist").output


def test_without_nodes_the_host_obeys_and_afterwards_the_newest_word_wins_everywhere(sites_of):
    both = sites_of()
    north, south = both.sites
    both.outage()

    told = north.type("policy", "blacklist")
    wait_until(lambda: north.obeys(policy="blacklist"), "the host obeys")

    assert told.returncode == 3
    assert "only workers of this host hear of it" in told.stdout
    assert south.obeys(policy="raise")
    assert south.invoke("policy", "local").exit_code == 3
    wait_until(lambda: south.obeys(policy="local"), "the host obeys")
    both.back()
    both.wait(policy="local")

    # It outlives all workers, then all nodes.
    both.stop()
    both.start()
    both.wait(policy="local")
    for node in both.nodes:
        node.restart()
    lost = [site.logged("lost its memory") for site in both.sites]
    wait_until(
        lambda: all("local" in site.invoke("policy").output for site in both.sites),
        "nodes know it again",
    )
    assert all(site.obeys(policy="local") for site in both.sites), lost

    assert north.invoke("policy", "config").exit_code == 0
    both.wait(policy="raise")


def test_all_workers_and_all_nodes_killed_at_once_and_what_hosts_have_is_enough(sites_of):
    both = sites_of(nodes=3)
    north, south = both.sites
    north.command("policy", "blacklist", "--reason", "before the power failed")
    south.command("drain", "n3")
    both.wait(policy="blacklist")
    cookies = {site: site.store({"site": number}) for number, site in enumerate(both.sites)}
    assert north.ask("/unserializable/cart", {}, cookie=cookies[north]).status == 200
    for site in both.sites:
        wait_until(lambda site=site: known(site) == SURVIVING, "every host has it")
        site.wait(
            lambda found: all("site" in one["values"] for one in found),
            "the change is seen",
            path="/shown",
            cookie=cookies[site],
        )

    for part in (*both.sites, *both.nodes):
        part.kill()
    for part in both.nodes:
        part.start()
    for site in both.sites:
        site.open()

    # The first request of each site is one of a signed-in user.
    for number, site in enumerate(both.sites):
        shown = site.ask("/shown", cookie=cookies[site]).json()["values"]
        assert shown["site"] == number, site.logged("memory")
    for site in both.sites:
        wait_until(lambda site=site: known(site) == SURVIVING, "all of it holds")
        for number, owner in enumerate(both.sites):
            site.wait(
                lambda found, number=number: (
                    [one["values"].get("site") for one in found] == [number] * WORKERS
                ),
                "every session is everywhere",
                path="/shown",
                cookie=cookies[owner],
            )
        assert site.obeys(policy="blacklist", mode="distributed")


SURVIVING = {"policy": "blacklist", "drained": True, "blacklist": ["cart"]}


def known(site):
    """Return what the command line prints at a site of the overrides."""
    nodes = json.loads(site.invoke("nodes", "--json").output)["nodes"]
    listed = json.loads(site.invoke("blacklist", "--json").output)["blacklist"]
    return {
        "policy": json.loads(site.invoke("policy", "--json").output)["policy"],
        "drained": nodes[2]["state"] == "drained",
        "blacklist": [row["key"] for row in listed],
    }


@pytest.mark.parametrize("what", ["promote", "discard"])
def test_an_attribute_that_stops_the_fleet_and_the_return_of_what_was_kept(sites_of, what):
    both = sites_of(MSM_SERIALIZATION_POLICY="stop", MSM_ON_RECONNECT=what)
    north, south = both.sites
    cookie = north.store({"name": "anna"})
    assert values(south, cookie) == [{"name": "anna"}] * WORKERS

    assert north.ask("/unserializable/cart", {}).status == 200
    both.wait(mode="stopped")
    assert "stopped (chosen by policy 'stop'" in south.invoke("status").output
    cookie = north.store({"city": "Ulm"}, cookie=cookie)
    assert values(north, cookie) == [{"name": "anna", "city": "Ulm"}] * WORKERS
    assert values(south, cookie) == [{"name": "anna"}] * WORKERS

    south.command("resume", "--reason", "mended")
    both.wait(mode="distributed")

    kept = {"name": "anna", "city": "Ulm"} if what == "promote" else {"name": "anna"}
    for site in both.sites:
        site.wait(
            lambda found: [one["values"] for one in found] == [kept] * WORKERS,
            f"{what}: every worker has {kept}",
            path="/shown",
            cookie=cookie,
        )
    # Choosing the policy again stops nothing: only the next failure does.
    assert all(site.obeys(mode="distributed") for site in both.sites)


def test_without_nodes_the_command_line_says_what_it_sees_and_makes_nothing(
    sites_of, tmp_path, monkeypatch
):
    both = sites_of()
    north, south = both.sites
    both.outage()
    empty = tmp_path / "elsewhere"
    empty.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(empty))
    monkeypatch.setenv("TMPDIR", str(empty))

    wait_until(lambda: "2 local" in north.invoke("status").output, "workers report to the host")
    here = north.type("status")
    assert here.returncode == 1
    assert "of this host only: no node can be reached" in here.stdout
    shown = json.loads(north.invoke("workers", "--json").output)
    assert (shown["observer"]["complete"], shown["observer"]["source"]) == (False, "host")
    assert len(shown["workers"]) == WORKERS

    # A host without workers: nothing to see, nothing to make.
    south.config["MSM_LOCAL_DIR"] = str(empty / "storage")
    refused = south.type("policy", "local", folder=empty)
    assert refused.returncode == 3
    last = refused.stderr.splitlines()[-1]
    assert last == "Error: no node could be reached, nothing was changed"
    threads = threading.enumerate()
    for arguments, code in (
        (("status",), 1),
        (("nodes",), 0),
        (("workers",), 0),
        (("blacklist",), 0),
        (("policy",), 0),
        (("check",), 1),
        (("probe", "n1"), 1),
        (("stop",), 3),
        (("drain", "n1", "--force"), 3),
        (("blacklist", "pin", "cart"), 3),
    ):
        done = south.invoke(*arguments)
        assert done.exit_code == code, (arguments, done.output)
        assert isinstance(done.exception, SystemExit | None), done.exception
    assert "no worker can be seen" in south.invoke("workers").output
    assert threading.enumerate() == threads
    assert list(empty.iterdir()) == []


def test_three_thousand_bad_attributes_leave_memory_blacklist_and_log_bounded(sites_of):
    (site,) = sites_of(["north"], MSM_SERIALIZATION_POLICY="blacklist").sites
    pids = list(site.answers())
    for number in range(0, 1000, 100):
        assert site.ask(f"/unserializable/{number}/100", {}).status == 200
    before = sum(resident(pid) for pid in pids)

    for number in range(1000, 3_000, 100):
        assert site.ask(f"/unserializable/{number}/100", {}).status == 200

    grown = sum(resident(pid) for pid in pids) - before
    sys.stdout.write(f"\n2,000 more bad attributes took {grown / 1e6:.1f} MB in {WORKERS} workers")
    assert grown < 20e6
    assert len(site.logged("attribute_blacklisted")) <= 200 * WORKERS
    assert len(site.logged("attributes_uncounted")) <= WORKERS

    def listed():
        return len(json.loads(site.invoke("blacklist", "--json").output)["blacklist"])

    wait_until(lambda: listed() >= 100, "the workers wrote their blacklists down")
    assert listed() <= 200
    assert site.events.stat().st_size < 500_000


def resident(pid):
    """Return how many bytes of memory a process takes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * mmap.PAGESIZE
