"""What memcached and a host keep of real workers, with and without ``MSM_ENCRYPTION_KEYS``."""

from __future__ import annotations

import pytest
from support.sealing import SECRETS

from flask_msm.testing.memcached import wait_until
from harness.memcached import Memcached


pytestmark = pytest.mark.memcached

#: What must not be found: name and value of an attribute, what an operator wrote, what failed.
MARKERS = {
    "name": b"customer_address",
    "value": b"12 Grimmauld Place",
    "of the outage": b"4 Privet Drive",
    "operator": b"because of the dementors",
    "blacklist": b"time_turner",
}


def kept(folder):
    """Return names and contents of all that local storage holds."""
    data = b""
    for path in folder.rglob("*"):
        try:
            data += path.name.encode() + (path.read_bytes() if path.is_file() else b"")
        except FileNotFoundError:  # an unfinished file has got its name
            continue
    return data


def found(data):
    return {what for what, marker in MARKERS.items() if marker in data}


@pytest.mark.parametrize("encrypted", [True, False], ids=["encrypted", "plain"])
def test_nothing_is_at_rest_in_plain_text_on_nodes_and_hosts(sites_of, encrypted):
    """Without keys all of it is found, so that this test can fail."""
    keys = {"MSM_ENCRYPTION_KEYS": SECRETS[0].hex()} if encrypted else {}
    sites = sites_of(["north"], MSM_SERIALIZATION_POLICY="blacklist", **keys)
    (site,) = sites.sites
    name, value, later, reason, failed = (marker.decode() for marker in MARKERS.values())
    cookie = site.store({name: value})
    assert site.ask(f"/unserializable/{failed}", {}, cookie=cookie).status == 200
    for policy in ("local", "blacklist"):
        site.invoke("policy", policy, "--reason", reason)
        sites.wait(policy=policy)
    ref = site.ask("/where", cookie=cookie).json()["ref"]
    notes = 5  # control, heartbeat, blacklist, and a report of each worker
    wait_until(
        lambda: (
            any(site.storage.rglob(f"{ref}*"))
            and sum(len(path.name) == 64 for path in site.storage.rglob("sessions/*")) >= notes
        ),
        "the host has copies of the session and of what workers tell each other",
    )
    on_nodes = b""

    def listed():
        # A node that is about to list its keys already lists none of them.
        nonlocal on_nodes
        on_nodes += b"".join(map(Memcached.dump, sites.nodes))
        return ref.encode() in on_nodes

    wait_until(listed, "the nodes list the session")
    sites.outage()
    site.store({"address": later}, cookie=cookie)
    on_host = kept(site.storage)
    shown = next(iter(site.answers("/shown", cookie).values()))["values"]

    assert (shown[name], shown["address"]) == (value, later)
    assert len(on_nodes) > 1000
    assert found(on_nodes) == (set() if encrypted else set(MARKERS) - {"of the outage"})
    assert found(on_host) == (set() if encrypted else set(MARKERS))
