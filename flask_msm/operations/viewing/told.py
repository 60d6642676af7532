"""Parsed reports of the other workers, cached per collection."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from flask_msm.sessions.blacklist import Blacklist

from .nodes import opinions_of
from .workers import worker_of


if TYPE_CHECKING:
    from collections.abc import Mapping

    from flask_msm.operations import snapshot as doc
    from flask_msm.operations.report_reader import FleetView
    from flask_msm.process.clock import Clock

    from .events import Sighting


@dataclass(slots=True)
class Told:
    """The reports of the other workers, parsed once for everything that was gathered at once.

    Attributes:
        reports: Their reports, the very objects.
        workers: Each of them, by name, as if it were seen lately.
        opinions: How each of them sees each node, by its name and the node's.
        events: Worker and event, oldest first.
        blacklist: Of all of them.
    """

    reports: tuple[Mapping[str, Any], ...] = ()
    workers: dict[str, doc.Worker] = field(default_factory=dict)
    opinions: dict[str, dict[str, doc.Opinion]] = field(default_factory=dict)
    events: list[Sighting] = field(default_factory=list)
    blacklist: bytes = b""


class Others:
    """Parses the reports of the other workers, anew only when something else was gathered.

    Args:
        clock: The source of time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        #: Replaced whole: two threads at once do the same work twice, without harm.
        self._told = Told()

    def told(self, view: FleetView, me: str) -> Told:
        """Return the parsed reports of the workers of *view*, all but *me*."""
        others = [worker for worker in view.workers if worker.name != me]
        reports = tuple(view.seen.reports[worker.name].facts for worker in others)
        told = self._told
        if len(told.reports) == len(reports) and all(
            one is other for one, other in zip(told.reports, reports, strict=True)
        ):
            return told
        blacklist = Blacklist(self._clock, lambda: "")
        blacklist.merge(*filter(None, (w.facts.long_text("blacklist") for w in others)))
        told = Told(
            reports=reports,
            workers={worker.name: worker_of(worker) for worker in others},
            opinions={worker.name: opinions_of(worker) for worker in others},
            events=sorted(
                (
                    # Nothing happened later than the report that contains it.
                    (min(row.number("at") or 0.0, worker.heard_at), worker.name, row)
                    for worker in others
                    for row in worker.facts.rows("events")
                ),
                key=lambda event: event[0],
            ),
            blacklist=blacklist.to_json(),
        )
        self._told = told
        return told
