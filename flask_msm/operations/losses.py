"""Sessions that were lost, and those of which one copy is left, as the snapshot shows them."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from flask_msm.cluster.distinct import Distinct
from flask_msm.cluster.lost_sessions import LOST, STEPS, Reason
from flask_msm.storage.metrics import SAMPLED


if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from flask_msm.cluster.facts import Facts


#: A smaller share of all that were asked for is no alarm.
SHARE = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """Cookies of ours that found no session in the window, each counted once for the fleet.

    Exact up to 64, above that an estimate.

    Attributes:
        lost: Sessions lost: those of *not_found*, *not_known* and *key_unknown*.
        not_found: Their nodes do not have them, and they had neither ended nor expired.
        not_known: Their nodes cannot be asked, and their host has no copy.
        key_unknown: Their cookies were refused, and nodes hold them signed with a key that the
            workers do not have: ``SECRET_KEY`` was changed.
        refused: Cookies that were not signed here, nothing more is known of them.
        expired: Unused for too long.
        ended: Signed out, revoked, or moved to another id.
        asked: Sessions that were asked for, about.
        limit: ``MSM_LOST_SESSIONS_LIMIT``.
        since: When the first of them was lost.
        series: How many of them were lost in each step of the window, oldest first; empty where
            that is not known.
    """

    lost: int = 0
    not_found: int = 0
    not_known: int = 0
    key_unknown: int = 0
    refused: int = 0
    expired: int = 0
    ended: int = 0
    asked: int = 0
    limit: int = 10
    since: float | None = None
    series: tuple[int, ...] = ()

    @property
    def too_many(self) -> bool:
        """Whether so many are lost that people have to see to it."""
        return self.lost >= self.limit and self.lost >= SHARE * self.asked


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeCopies:
    """The copies on one node: of each session the first one, further ones, and only ones."""

    node: str
    first: int
    further: int
    only: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.first + self.further + self.only


@dataclass(frozen=True, slots=True, kw_only=True)
class Copies:
    """How many sessions there are, and how many of them one node alone has.

    Attributes:
        at: When they were counted.
        sessions: Sessions on the nodes, with those that ended lately.
        one_copy: Those that only one node has; ``None`` when a node does not list its keys.
        about: It is an estimate from one of 64.
        unlisted: Ids of nodes that do not list their keys.
        nodes: What each node that answered holds.
    """

    at: float
    sessions: int | None = None
    one_copy: int | None = None
    about: bool = False
    unlisted: tuple[str, ...] = ()
    nodes: tuple[NodeCopies, ...] = ()


def build_lost(sections: Sequence[Facts], *, limit: int) -> Lost:
    """Return what several workers reported, put together."""

    def of(section: Facts, name: str) -> Distinct:
        part = section.section(name)
        return Distinct.read(part.integer("count"), part.text("digests", None))

    found = {
        reason: Distinct.together([of(section, reason.value) for section in sections])
        for reason in Reason
    }
    lost = Distinct.together([found[reason] for reason in LOST]).count
    sampled = Distinct.together([of(section, "asked") for section in sections])
    since = [at for section in sections if (at := section.time("since"))]
    return Lost(
        lost=lost,
        **{reason.value: one.count for reason, one in found.items()},
        # Those with a key that is not known were never read.
        asked=max(sampled.count * SAMPLED + found[Reason.KEY_UNKNOWN].count, lost),
        limit=limit,
        since=min(since, default=None) if lost else None,
        series=_by_step([section.section(name) for section in sections for name in LOST]),
    )


def _by_step(parts: Sequence[Facts]) -> tuple[int, ...]:
    """Return how many were lost in each step: those that are known by name stand for all."""
    ages: dict[str, int] = {}
    found: list[Distinct] = []
    for part in parts:
        one = Distinct.read(part.integer("count"), part.text("digests", None))
        steps = part.series("ages")
        if len(steps) != len(one.smallest):
            return ()
        found.append(one)
        for digest, age in zip(one.smallest, steps, strict=True):
            ages[digest] = max(ages.get(digest, 0), min(int(age or 0), STEPS - 1))
    together = Distinct.together(found)
    at = sorted(STEPS - 1 - ages[digest] for digest in together.smallest)
    until = [bisect_right(at, step) * together.count for step in range(-1, STEPS)]
    shares = [round(count / max(1, len(at))) for count in until]
    return tuple(after - before for before, after in pairwise(shares))


def build_copies(sections: Sequence[Facts]) -> Copies | None:
    """Return the newest count of those that workers reported; ``None`` without any."""
    newest = max(sections, key=lambda section: section.time("at"), default=None)
    if newest is None or not newest.time("at"):
        return None
    return Copies(
        at=newest.time("at"),
        sessions=newest.integer("sessions"),
        one_copy=newest.integer("one_copy"),
        about=newest.boolean("about"),
        unlisted=tuple(sorted(newest.texts("unlisted"))),
        nodes=tuple(_on_nodes(newest.section("nodes"))),
    )


def _on_nodes(facts: Facts) -> Iterator[NodeCopies]:
    for node in facts.names():
        found = [max(0, int(count or 0)) for count in facts.series(node)]
        if len(found) == len(("first", "further", "only")):
            yield NodeCopies(node=node, first=found[0], further=found[1], only=found[2])
