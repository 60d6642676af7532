"""Keeps the history: adds what happened, and brings it back to nodes that lost it.

It looks at each tick, in memory alone, whether something is due: a slot is over, a node is seen in
another state than was written down, or a node lost its memory. Then one worker of each host reads
the records and brings nodes and host up to date, and one worker of the fleet adds what the reports
of all workers say. Each worker reports what it counted in the last slots: a point needs no memory
of the worker that writes it, and has what a worker counted that was restarted since.
"""

from __future__ import annotations

import json
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Any

from flask_msm.cluster.facts import Facts
from flask_msm.cluster.health import NodeState
from flask_msm.cluster.phases import BAD, Phase, SeenNode, phase
from flask_msm.process.background import put_alone
from flask_msm.process.locks import ProcessLock
from flask_msm.storage.metrics import STEP

from . import lease
from .history_records import DAY_STEP, WEEK_STEP
from .points import joined, point_of


if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from flask_msm.process.background import Background

    from .collecting import Collector
    from .history_records import Book, HistoryRecords
    from .membership import Membership


#: Name of the note, and of what only one worker of a host does at a time.
NOTE = TASK = "history"
#: One worker adds for the fleet: it has so many seconds.
LEASE = 5
#: Time in seconds that everything may take.
PATIENCE = 2.0
#: While a node is seen otherwise than it is written down, that is looked into at most so seldom.
LONGEST_PAUSE = 60.0
#: What several workers saw within so many seconds is one event.
SAME = 10.0


@dataclass(eq=False)
class HistoryKeeper:
    """Adds to the history of the fleet, for this host and now and then for all.

    Args:
        interval: Time in seconds between two ticks.
        urgent: Queue for what must not wait for a rebuild.
    """

    records: HistoryRecords
    _: KW_ONLY
    collector: Collector
    membership: Membership
    urgent: Background
    interval: float

    def __post_init__(self) -> None:
        self._clock = self.membership.clock
        self._running = ProcessLock()
        #: The slot and the loss that are taken care of, and the states that were written down.
        self._done: tuple[int, int] = (0, 0)
        self._written: dict[str, str] = {}
        self._again_at, self._pause = 0.0, 0.0

    def look(self) -> None:
        """Begin what is due, behind; to be called at each tick."""
        if self._is_due():
            put_alone(self.urgent, self._running, self._run_alone)

    def add_change(self, at: float, **facts: str | None) -> None:
        """Write down what an operator changed, at once; never raises."""
        deadline = self._clock.monotonic() + PATIENCE
        known = {name: text for name, text in facts.items() if text}
        book = self.records.read(deadline, ("log",))
        book.add(at, "change", json.dumps(known), known)
        self.records.write(book, deadline)

    def _is_due(self) -> bool:
        if self._wanted() != self._done:
            return True
        differs = self._seen() != self._written
        if not differs:
            self._pause = 0.0
        return differs and self._clock.monotonic() >= self._again_at

    def _wanted(self) -> tuple[int, int]:
        """Return the last slot that is over and reported, and the last loss of a node's memory."""
        # Windows that began in it are over, and every worker has reported since.
        settled = self._clock.time() - STEP - 3 * self.interval
        slot = (int(settled // DAY_STEP) - 1) * DAY_STEP
        return slot, max(self.membership.control.lost().values(), default=0)

    def _seen(self) -> dict[str, str]:
        """Return in which state this worker sees each node, in the words of the history."""
        views = self.membership.table.view().items()
        return {
            node_id: _PHASES.get(view.state, "up" if view.trusted else "filling")
            for node_id, view in views
        }

    def _run_alone(self) -> None:
        with self.records.local.alone_at(TASK) as alone:
            if alone:
                self._run()

    def _run(self) -> None:
        wanted, now = self._wanted(), self._clock.monotonic()
        differs = self._seen() != self._written
        if not differs and self._noted() == wanted:
            self._done = wanted  # by another worker of this host
            return
        deadline = now + PATIENCE
        book = self.records.read(deadline)
        slot, _ = wanted
        is_complete = slot in book.points("day") and self._is_written(book)
        common, homes = self.records.common, self.records.homes()
        turn = common.prefix + lease.HISTORY
        # One worker adds for the fleet at a time.
        adds = not is_complete and common.take_turn(turn, homes, LEASE, deadline)
        if adds:
            self._add(book, slot, deadline)
        self.records.write(book, deadline)
        if adds:
            common.end_turn(turn, homes, deadline)
        self.records.local.put_blob(NOTE, json.dumps(wanted).encode())
        self._done = wanted
        self._written = {id_: str(one.facts.get("state")) for id_, one in book.states().items()}
        # A state is written down when most workers see it: that takes a few ticks.
        self._pause = min(max(2 * self._pause, self.interval), LONGEST_PAUSE)
        self._again_at = now + self._pause

    def _noted(self) -> tuple[int, int] | None:
        try:
            slot, lost = json.loads(self.records.local.get_blob(NOTE) or b"")
        except (ValueError, TypeError):
            return None
        return slot, lost

    def _is_written(self, book: Book) -> bool:
        written = {node_id: one.facts.get("state") for node_id, one in book.states().items()}
        return written == self._seen()

    def _add(self, book: Book, slot: int, deadline: float) -> None:
        workers = self.membership.workers
        found = self.collector.collect(workers.all_names(), deadline)
        reports = {name: Facts(report.facts) for name, report in found.items()}
        living = workers.living()
        # Workers report the one before as well: it is missing where none was there to add it.
        for begin in {slot - DAY_STEP, slot} - set(book.points("day")):
            point = point_of(begin, reports.values(), of=len(living))
            if point is not None:
                book.add_point("day", begin, int(point["workers"]), point)
        self._add_hours(book, slot)
        self._add_states(book, [reports[name] for name in living if name in reports])
        self._add_events(book, reports.values())

    @staticmethod
    def _add_hours(book: Book, slot: int) -> None:
        """Add the hours that are over, from the points of the day."""
        points, hours = book.points("day"), book.points("week")
        ended = (slot + DAY_STEP) // WEEK_STEP * WEEK_STEP
        for begin in {at // WEEK_STEP * WEEK_STEP for at in points} - set(hours):
            if begin < ended:
                parts = [Facts(points[at]) for at in points if 0 <= at - begin < WEEK_STEP]
                hour = joined(parts)
                book.add_point("week", begin, hour["workers"], hour)

    def _add_states(self, book: Book, reports: Sequence[Facts]) -> None:
        now, before = self._clock.time(), book.states()
        drains = self.membership.control.drains()
        for node_id in self.membership.table.node_ids:
            found = phase(
                [sight for one in reports if (sight := sight_of(one, node_id))],
                drained=node_id in drains,
                now=now,
                interval=self.interval,
            )
            last = before.get(node_id)
            if found is None or (last and last.facts.get("state") == found.name):
                continue
            at = self._begun(found, last.at if last else None, now)
            facts = {"node": node_id, "state": found.name}
            book.add(at, "state", node_id, facts)

    def _begun(self, found: Phase, last: float | None, now: float) -> float:
        """Return when a state began: after the last one, and not in the future."""
        at = now if last is None or found.since is None else min(found.since, now)
        return at if last is None else max(at, last + 0.001)

    @staticmethod
    def _add_events(book: Book, reports: Iterable[Facts]) -> None:
        """Add what is worth to be remembered of what workers saw, once for all of them."""
        seen: dict[str, float] = {}
        for one in book.log():
            if one.kind == "event":
                seen[_key(Facts(one.facts))] = one.at
        rows = [
            row
            for report in reports
            for row in report.rows("events")
            if row.text("level") in ("warning", "error") and not row.text("actor")
        ]
        for row in sorted(rows, key=lambda row: row.time("at")):
            at, key = row.time("at"), _key(row)
            if not at or at - seen.get(key, float("-inf")) <= SAME:
                continue
            seen[key] = at
            facts: dict[str, Any] = {
                "level": row.text("level"),
                "kind": row.line("kind", 60),
                "text": row.line("text", 300),
                "node": row.text("node", 100),
            }
            book.add(at, "event", key, {k: v for k, v in facts.items() if v is not None})


def sight_of(report: Facts, node_id: str) -> SeenNode | None:
    """Return how a worker sees a node; ``None`` if it reported no state that is known."""
    node = report.section("nodes").section(node_id)
    state = node.text("state")
    if state not in BAD:
        return None
    return SeenNode(
        state,
        trusted=node.boolean("trusted"),
        since=node.number("since"),
        down_at=node.number("down_at"),
        lacking_at=node.number("lacking_at"),
    )


def _key(row: Facts) -> str:
    return f"{row.text('kind')}:{row.text('node')}:{row.line('text', 300)}"


_PHASES = {
    NodeState.DOWN: "down",
    NodeState.RECOVERING: "filling",
    NodeState.DRAINING: "drained",
    NodeState.DRAINED: "drained",
}
