"""Points of the history: what all workers counted in one slot, as facts that JSON takes. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask_msm.cluster.distinct import Distinct
from flask_msm.storage.metrics import BOUNDS, summed


if TYPE_CHECKING:
    from collections.abc import Iterable

    from flask_msm.cluster.facts import Facts
    from flask_msm.storage.metrics import Window


CLASSES = len(BOUNDS) + 1
#: What is added up, by its name in a point.
SUMS = ("hits", "misses", "failed")


class Counted:
    """What one worker counted in one slot."""

    def __init__(self) -> None:
        self._classes = [0] * CLASSES
        self._sums = dict.fromkeys(SUMS, 0)
        self._lost, self._cut = set[str](), False

    def add(self, window: Window) -> None:
        """Count a window in."""
        self._classes = summed((self._classes, window.loads, window.saves))
        for name in SUMS:
            self._sums[name] += getattr(window, name)

    def add_lost(self, digests: Iterable[str], *, cut: bool) -> None:
        """Count sessions that were lost, each once in a slot."""
        self._lost.update(digests)
        self._cut = self._cut or cut

    def facts(self) -> dict[str, Any]:
        """Return it as it is reported."""
        lost = Distinct.of(self._lost, more=self._cut).written() if self._lost else {}
        return {"classes": self._classes, **self._sums, "lost": lost}


def point_of(begin: int, reports: Iterable[Facts], *, of: int) -> dict[str, Any] | None:
    """Return the sum of what was reported for a slot; ``None`` when no worker reported it.

    Args:
        begin: When the slot began, seconds since the epoch.
        reports: Of each worker, those that ended meanwhile included.
        of: How many workers are known to live.
    """
    reports = list(reports)
    slots = [
        slot
        for report in reports
        if (slot := report.section("traffic").section("slots").section(str(begin)))
    ]
    if not slots:
        return None
    parts = [slot.section("lost") for slot in slots]
    lost = Distinct.together(
        [Distinct.read(part.integer("count"), part.text("digests", None)) for part in parts]
    )
    kept = kept_on_hosts((one, one.section("local").integer("dirty")) for one in reports) or 0
    return {**_added(slots), "lost": lost.count, "kept": kept, "workers": len(slots), "of": of}


def joined(points: Iterable[Facts]) -> dict[str, Any]:
    """Return several points in a row as one: of an hour, for example."""
    points = list(points)
    return {
        **_added(points),
        "lost": sum(point.integer("lost") or 0 for point in points),
        "kept": max((point.integer("kept") or 0 for point in points), default=0),
        "workers": max((point.integer("workers") or 0 for point in points), default=0),
        "of": max((point.integer("of") or 0 for point in points), default=0),
    }


def _added(slots: Iterable[Facts]) -> dict[str, Any]:
    slots = list(slots)
    rows = [slot.series("classes") for slot in slots]
    complete = [[int(n or 0) for n in row] for row in rows if len(row) == CLASSES]
    sums = {name: sum(slot.integer(name) or 0 for slot in slots) for name in SUMS}
    return {"classes": summed(complete), **sums}


def kept_on_hosts(counts: Iterable[tuple[Facts, int | None]]) -> int | None:
    """Return how many sessions hosts alone have; all workers of a host count the same folder.

    Args:
        counts: Reports of workers, each with what it counted.

    Returns:
        ``None`` when none of them counted.
    """
    own, by_host = list[int](), dict[str, int]()
    for report, count in counts:
        host = report.text("host")
        if count is None:
            continue
        if host is None or report.section("local").text("kind") == "simple":
            own.append(count)
        else:
            by_host[host] = max(by_host.get(host, 0), count)
    return sum((*own, *by_host.values())) if own or by_host else None
