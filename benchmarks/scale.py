"""``python -m benchmarks.scale``: what more nodes, larger sessions and more attributes cost.

Each row is a pair of applications, one with Flask-Session and one with ours in two copies, over
the same memcached processes; the figures are medians of what a request takes longer than the same
request without sessions. Only the ratios hold for another machine.
"""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

from .contenders import NONE, THEIRS, Contender, NoSessions, keep_by_ours, keep_by_theirs
from .measure import Group, measure
from .nodes import MemcachedError, running
from .shapes import ACTS, add_views, application, content_of, visits


if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.memcached import Memcached


NODES, SIZE, ATTRIBUTES = 3, 300, 6
#: What is varied, its values, and how values are called.
SERIES: dict[str, tuple[int, ...]] = {
    "nodes": (1, 3, 10, 30),
    "bytes": (300, 3_000, 30_000, 300_000),
    "attributes": (3, 30, 300),
}
OURS = "ours-2"


class Row(NamedTuple):
    """What one pair took.

    Attributes:
        series: What was varied.
        value: To what.
        act: ``read`` or ``write``.
        theirs: Added by Flask-Session, microseconds.
        ours: Added by flask_msm in two copies, microseconds.
    """

    series: str
    value: int
    act: str
    theirs: float
    ours: float


def main() -> int:
    """Measure, print, draw, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--requests", type=int, default=300, metavar="N", help="of each kind")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw curves into this PNG")
    arguments = parser.parse_args()
    rows = []
    try:
        with running(max(SERIES["nodes"])) as nodes:
            for series, values in SERIES.items():
                for value in values:
                    rows += _measured(series, value, nodes, arguments.requests)
    except MemcachedError as error:
        print(error, file=sys.stderr)
        return 1
    print("microseconds that sessions add to a request, and the ratio to Flask-Session\n")
    for row in rows:
        print(
            f"{row.value:7} {row.series:11} {row.act:6} Flask-Session {row.theirs:8.0f}"
            f"   two copies {row.ours:8.0f}   ratio {row.ours / row.theirs:5.2f}"
        )
    if arguments.plot:
        _draw(rows, arguments.plot)
    return 0


def _measured(series: str, value: int, nodes: Sequence[Memcached], requests: int) -> list[Row]:
    shape = {"nodes": NODES, "bytes": SIZE, "attributes": ATTRIBUTES} | {series: value}
    content = content_of(shape["attributes"], shape["bytes"])
    with ExitStack() as closing:
        ports = [node.port for node in nodes[: shape["nodes"]]]
        none = application(f"{NONE}-{series}-{value}")
        none.session_interface = NoSessions()
        theirs = application(f"theirs-{series}-{value}")
        keep_by_theirs(theirs, ports, closing)
        ours = application(f"ours-{series}-{value}")
        manager = keep_by_ours(ours, ports, closing, MSM_MAX_RECORD_SIZE=900_000)
        mine = Contender(OURS, ("", ""), ours, manager)
        apps = {NONE: none, THEIRS: theirs, OURS: ours}
        for app in apps.values():
            add_views(app, content)
        groups = [
            Group(act, {name: visits(app, act) for name, app in apps.items()}, {OURS: mine.settle})
            for act in ACTS
        ]
        mine.wait_ready()
        measure(groups, requests)
    return [
        Row(
            series,
            value,
            group.name,
            median(group.added(THEIRS, NONE)),
            median(group.added(OURS, NONE)),
        )
        for group in groups
    ]


def _draw(rows: Sequence[Row], file: Path) -> None:
    """Draw one panel for each series."""
    import matplotlib as mpl  # noqa: PLC0415  (slow to import, and only needed here)

    mpl.use("Agg")
    import matplotlib.pyplot as plt  # noqa: PLC0415

    figure, panels = plt.subplots(
        1, len(SERIES), sharey=True, figsize=(11, 3.8), layout="constrained"
    )
    for panel, series in zip(panels, SERIES, strict=True):
        values: list[Any] = list(SERIES[series])
        for act, style in (("read", "-"), ("write", "--")):
            chosen = [row for row in rows if (row.series, row.act) == (series, act)]
            theirs, ours = [row.theirs for row in chosen], [row.ours for row in chosen]
            panel.plot(values, theirs, f"C7{style}o", label=f"Flask-Session, {act}")
            panel.plot(values, ours, f"C0{style}o", label=f"flask_msm, two copies, {act}")
        panel.set(xscale="log", yscale="log", xlabel=series, xticks=values)
        panel.set_xticklabels([f"{value:,}" for value in values])
        panel.minorticks_off()
        panel.grid(alpha=0.3)
    ticks = [200, 500, 1000, 2000, 5000, 10_000]
    panels[0].set_yticks(ticks, [f"{tick:,}" for tick in ticks])
    panels[0].minorticks_off()
    panels[0].set_ylabel("added to a request, microseconds")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    figure.savefig(file, dpi=110)


if __name__ == "__main__":
    sys.exit(main())
