"""The fleet as one picture, put together from the reports of the workers. Pure.

Reports come from the network. They are signed, and still another version may have written them:
every fact is taken out with its type checked, and what is odd counts as not reported.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from flask_msm.cluster.conditions import Condition
    from flask_msm.cluster.control import Choice
    from flask_msm.cluster.reports import Report

    from .observer import CollectedReports

T = TypeVar("T")

#: After so many probe intervals without a report a worker is called stale, and then gone.
STALE_AFTER, GONE_AFTER = 3, 10


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerView:
    """One worker.

    Attributes:
        name: Its name.
        facts: Its last report.
        heard_at: When it was seen last, by the clock of the process that looks.
        age: How long ago, seconds.
        status: ``live``, ``stale`` or ``gone``.
    """

    name: str
    facts: ReportFields
    heard_at: float
    age: float
    status: str

    @property
    def mode(self) -> str:
        """Where its sessions go."""
        return self.facts.text("mode") or "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeView:
    """One node as all workers see it.

    Attributes:
        id: Its name.
        state: What this worker thinks, or what most of those think that can be seen.
        trusted: Whether its answer alone counts.
        up: How many workers call it up.
        of: How many workers reported.
        opinions: State by worker.
        facts: The report of the worker that read its statistics last.
        observer: That worker; ``None`` when none read any.
    """

    id: str
    state: str
    trusted: bool
    up: int
    of: int
    opinions: Mapping[str, str]
    facts: ReportFields
    observer: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingView:
    """Something that can be changed at run time.

    Attributes:
        name: For example ``policy``.
        value: What holds.
        configured: What is configured.
        choice: What was chosen at run time, and by whom.
        applied: Workers that know the choice.
        of: Workers that reported.
    """

    name: str
    value: str
    configured: str
    choice: Choice
    applied: int
    of: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetView:
    """All of it.

    Attributes:
        seen: Where it comes from.
        workers: Every worker that can be seen, by name.
        nodes: Every node.
        settings: What can be changed at run time, by name.
        conditions: What is wrong for a while, oldest first.
        complete: Every worker that is known to live has reported.
    """

    seen: CollectedReports
    workers: tuple[WorkerView, ...]
    nodes: tuple[NodeView, ...]
    settings: Mapping[str, SettingView]
    conditions: tuple[Condition, ...]
    complete: bool

    @property
    def live(self) -> tuple[WorkerView, ...]:
        """The workers that were seen lately."""
        return tuple(worker for worker in self.workers if worker.status == "live")

    def modes(self) -> dict[str, int]:
        """Return how many live workers are in which mode."""
        modes = {"distributed": 0, "local": 0, "stopped": 0}
        for worker in self.live:
            if worker.mode in modes:
                modes[worker.mode] += 1
        return modes


class ReportFields:
    """A report, its parts taken out with the type they must have.

    Args:
        facts: A dictionary from JSON, or anything else, which counts as empty.
    """

    __slots__ = ("_facts",)

    def __init__(self, facts: object) -> None:
        self._facts: Mapping[str, Any] = facts if isinstance(facts, dict) else {}

    def number(self, name: str) -> float | None:
        """Return a finite number."""
        return _number(self._facts.get(name))

    def whole(self, name: str) -> int | None:
        """Return a whole number."""
        value = self.number(name)
        return None if value is None else int(value)

    def text(self, name: str) -> str | None:
        """Return a text of at most 1000 characters."""
        value = self._facts.get(name)
        return value[:1000] if isinstance(value, str) else None

    def long_text(self, name: str) -> str | None:
        """Return a text of any length; the caller has its own bounds."""
        value = self._facts.get(name)
        return value if isinstance(value, str) else None

    def rows_of_numbers(self, name: str) -> list[list[float]]:
        """Return a list of lists of numbers, empty ones where there is none."""
        value = self._facts.get(name)
        rows = value if isinstance(value, list) else []
        return [
            [number for item in row[:200] if (number := _number(item)) is not None]
            if isinstance(row, list)
            else []
            for row in rows[:200]
        ]

    def truth(self, name: str) -> bool:
        """Return whether something was reported as true."""
        return self._facts.get(name) is True

    def inner(self, name: str) -> ReportFields:
        """Return the facts under a name."""
        return ReportFields(self._facts.get(name))

    def names(self) -> list[str]:
        """Return the names of all facts."""
        return [name for name in self._facts if isinstance(name, str)]

    def rows(self, name: str) -> list[ReportFields]:
        """Return a list of facts."""
        value = self._facts.get(name)
        return [ReportFields(row) for row in value] if isinstance(value, list) else []

    def series(self, name: str) -> list[float | None]:
        """Return a list of numbers, ``None`` where there is none."""
        value = self._facts.get(name)
        rows = value if isinstance(value, list) else []
        return [_number(item) for item in rows[:200]]


def _number(value: object) -> float | None:
    if type(value) is not int and type(value) is not float:
        return None
    # Neither infinite nor NaN, nor too large to calculate with.
    return value if -1e18 < value < 1e18 else None


def fleet_view(
    seen: CollectedReports,
    *,
    now: float,
    interval: float,
    node_ids: Iterable[str],
    choice: Callable[[str], Choice],
    configured: Mapping[str, str],
    me: str | None,
    conditions: Iterable[Condition] = (),
    delay: float = 0.0,
) -> FleetView:
    """Return one picture of the fleet.

    Args:
        seen: What was gathered.
        now: Time in seconds since the epoch.
        interval: Time in seconds between two reports of a worker.
        node_ids: All nodes.
        choice: Returns what was chosen at run time for a setting.
        configured: What is configured, by setting.
        me: This worker, whose opinion comes first; ``None`` for a command line.
        conditions: What is wrong for a while, oldest first.
        delay: What was gathered may be so old, seconds: that is no silence of a worker.
    """
    workers = tuple(
        _worker(report, seen.heard.get(name), now, interval, delay)
        for name, report in sorted(seen.reports.items())
    )
    live = [worker for worker in workers if worker.status == "live"]
    settings = {}
    for name, value in configured.items():
        chosen = choice(name)
        applied = sum(_applied(worker) >= chosen.stamp for worker in live)
        settings[name] = SettingView(
            name=name,
            value=chosen.value or value,
            configured=value,
            choice=chosen,
            applied=applied,
            of=len(live),
        )
    heard = {worker.name for worker in workers}
    return FleetView(
        seen=seen,
        workers=workers,
        nodes=tuple(_node(node_id, live, me) for node_id in node_ids),
        settings=settings,
        conditions=tuple(conditions),
        complete=seen.source == "fleet" and seen.known <= heard,
    )


def _worker(
    report: Report, heard_at: float | None, now: float, interval: float, delay: float
) -> WorkerView:
    facts = ReportFields(report.facts)
    if heard_at is None:
        heard_at = min(facts.number("at") or 0.0, now)
    age = max(0.0, now - heard_at)
    status = "live"
    if age > GONE_AFTER * interval + delay:
        status = "gone"
    elif age > STALE_AFTER * interval + delay:
        status = "stale"
    return WorkerView(name=report.worker, facts=facts, heard_at=heard_at, age=age, status=status)


def _applied(worker: WorkerView) -> int:
    text = worker.facts.text("control") or "0"
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else 0


def _node(node_id: str, live: list[WorkerView], me: str | None) -> NodeView:
    said = {worker.name: worker.facts.inner("nodes").inner(node_id) for worker in live}
    opinions = {name: facts.text("state") or "unknown" for name, facts in said.items()}
    votes = list(opinions.values())
    state = max(set(votes), key=votes.count) if votes else "unknown"
    read_at = {name: facts.inner("numbers").number("at") or 0.0 for name, facts in said.items()}
    observer = max(read_at, key=lambda name: read_at[name], default=None)
    trusted = [facts.truth("trusted") for facts in said.values()]
    return NodeView(
        id=node_id,
        state=opinions.get(me, state) if me else state,
        trusted=bool(trusted) and all(trusted),
        up=votes.count("up"),
        of=len(votes),
        opinions=opinions,
        facts=said[observer] if observer else ReportFields(None),
        observer=observer if observer and read_at[observer] else None,
    )
