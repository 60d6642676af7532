"""The tables of events, counts and metrics, made from the code: ``python docs/events_page.py``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from flask_msm.cluster.event_kinds import EVENT_KINDS
from flask_msm.operations.snapshot import COUNTED, Choice, Observer, Snapshot
from flask_msm_dashboard.metrics import families


if TYPE_CHECKING:
    from collections.abc import Iterable


def page() -> str:
    """Return all tables."""
    parts = ["## Kinds of events\n"]
    for title, kinds in EVENT_KINDS.items():
        parts += [f"### {title}\n", _table(("event", "meaning"), kinds.items())]
    parts += ["## Counts of a worker\n", COUNTS, _table(("event", "meaning"), COUNTED.items())]
    parts += ["## Metrics\n", METRICS, _table(("metric", "type", "labels", "meaning"), _metrics())]
    return "\n".join(parts)


COUNTS = "`flask_msm_worker_events_total{worker, event}`, and `counts` of a worker in the state.\n"
METRICS = "All names begin with `flask_msm_`. Times are seconds, sizes bytes.\n"


def _metrics() -> Iterable[tuple[str, str, str, str]]:
    choice = Choice(value="", configured="")
    empty = Snapshot(
        at=0.0,
        observer=Observer(worker="", host="", version="", app=""),
        mode="distributed",
        policy=choice,
        on_reconnect=choice,
        distribution=choice,
    )
    for metric in families(empty, []):
        name = metric.name.removeprefix("flask_msm_")
        name += "_total" if metric.type == "counter" else ""
        labels = ", ".join(f"`{label}`" for label in getattr(metric, "_labelnames", ()))
        yield f"`{name}`", metric.type, labels, metric.documentation


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    titles = list(head)
    lines = [titles, ["---"] * len(titles)]
    for first, *rest in rows:
        lines.append([first if first.startswith("`") else f"`{first}`", *rest])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(page())
