"""What is wrong with nodes that answer well: keys not listed, records not verifiable here.

Looks at a part of what the nodes hold, for a bounded time; sets nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from flask_msm.cluster import node_identity as identity
from flask_msm.cluster.beats import BEATS
from flask_msm.errors import CorruptRecordError, NodeError, NodeValueError, UnknownRecordError
from flask_msm.maintenance.lease import LEASES
from flask_msm.record.keys import is_digest


if TYPE_CHECKING:
    from collections.abc import Iterable

    from flask_msm.memcached.client import MemcachedNode
    from flask_msm.process.clock import Clock
    from flask_msm.record.envelope import Envelope


#: Most records that are looked at on one node. Nodes list in the order of their hash table, so
#: these are as good as chosen by chance.
MAX_RECORDS = 2000
#: Time in seconds one node may take, to list and to be read.
NODE_TIME = 5.0
#: Records read at once.
BATCH = 20


class Trouble(NamedTuple):
    """Something an operator has to see to.

    Attributes:
        node: Id of the node it was found on.
        what: One of ``not listed``, ``foreign``, ``damaged``, ``not looked at``.
        text: What was found and what to do, in words.
    """

    node: str
    what: str
    text: str


class Inspection(NamedTuple):
    """What was found.

    Attributes:
        looked_at: Records that were looked at, on all nodes together.
        troubles: What is to be done; empty when nothing is.
    """

    looked_at: int
    troubles: tuple[Trouble, ...]


def inspect(
    nodes: Iterable[MemcachedNode], envelope: Envelope, prefix: str, clock: Clock
) -> Inspection:
    """Return what is wrong with what *nodes* hold under the application's *prefix*.

    Takes at most ``NODE_TIME`` seconds for each.
    """
    looked_at = 0
    troubles: list[Trouble] = []
    for node in nodes:
        seen, found = _look(node, envelope, prefix, clock)
        looked_at += seen
        troubles += found
    return Inspection(looked_at, tuple(troubles))


def _look(
    node: MemcachedNode, envelope: Envelope, prefix: str, clock: Clock
) -> tuple[int, list[Trouble]]:
    """Return how many records of *node* were looked at, and what is wrong."""
    until = clock.monotonic() + NODE_TIME
    seen = foreign = damaged = unguarded = 0
    try:
        # A part of the time is left to read what was listed.
        listed = node.sample(prefix, MAX_RECORDS, until - NODE_TIME / 2)
        names = [name for name in listed if _is_record(name.removeprefix(prefix))]
        for start in range(0, len(names), BATCH):
            if clock.monotonic() >= until:
                break
            for name, item in node.get_many(names[start : start + BATCH], until).items():
                seen += 1
                unguarded += item.token.unique == b"0"
                try:
                    envelope.verify(item.value, name)
                except UnknownRecordError:
                    foreign += 1
                except CorruptRecordError:
                    damaged += 1
    except NodeValueError:
        return seen, [Trouble(node.id, "not listed", NOT_LISTED)]
    except NodeError as error:
        text = f"could not be looked at ({error.reason}): run the check again"
        return seen, [Trouble(node.id, "not looked at", text)]
    found = (
        ("foreign", foreign, FOREIGN),
        ("damaged", damaged, DAMAGED),
        ("unguarded", unguarded, UNGUARDED),
    )
    return seen, [
        Trouble(node.id, what, text.format(count=count, seen=seen, prefix=prefix))
        for what, count, text in found
        if count
    ]


def _is_record(name: str) -> bool:
    """Return whether what is kept under *name*, without the prefix, has to be signed."""
    # Leases and identities are not signed: changing them gains an attacker nothing.
    unsigned = (LEASES, BEATS, identity.KEY_SUFFIX)
    return is_digest(name) or (name.startswith("fleet:") and not name.startswith(unsigned))


NOT_LISTED = (
    "does not list its keys (lru_crawler metadump), so no node can be rebuilt from it: start"
    " memcached without -X (--disable-dumping) and with its LRU crawler, and use no proxy that"
    " refuses the command"
)
FOREIGN = (
    "{count} of {seen} records under {prefix!r} are signed with a secret that this application does"
    " not have, or written by a newer version: add the lost secret to SECRET_KEY_FALLBACKS, or give"
    " the other deployment an MSM_KEY_PREFIX of its own"
)
UNGUARDED = (
    "gives no cas ids, so that no session can be changed there: start memcached without -C"
    " (--disable-cas)"
)
DAMAGED = (
    "{count} of {seen} records under {prefix!r} are damaged, forged, or written by another program:"
    " they are not used; find out who else writes to this node"
)
