"""What the commands share: a look at the fleet from outside, and tables of it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any

import click
from flask import current_app
from flask.cli import with_appcontext

from flask_msm.cluster.control import DISTRIBUTION, ON_RECONNECT, POLICY
from flask_msm.errors import CommandError, UnreachedError, one_line
from flask_msm.sessions.overrides import BLACKLIST_NOTE


if TYPE_CHECKING:
    from collections.abc import Sequence

    from flask_msm.cluster.conditions import Condition

    from .checks import Report
    from .console import Console
    from .snapshot import Node, Snapshot, Worker


#: Longest line that is printed, characters.
LONGEST_LINE = 1000

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
reason_option = click.option("--reason", default="", help="Kept with the change.")


def blacklist_rows(console: Console) -> list[dict[str, Any]]:
    """Return the entries of all workers that can be seen, and what is pinned."""
    application, cluster = console.application, console.application.cluster
    console.survey()
    if noted := application.local.get_blob(BLACKLIST_NOTE):
        application.repository.serialization.blacklist.merge(noted)
    if cluster is not None:
        cluster.overrides.apply()
    return [
        {
            "attribute": entry.attribute,
            "type": entry.type_name,
            "path": entry.path,
            "count": entry.count,
            "workers": len(entry.workers),
            "pinned": entry.pinned,
            "added_by": entry.added_by,
        }
        for entry in console.view().blacklist
    ]


def visiting(command: Callable[..., Any]) -> Callable[..., Any]:
    """Hand the console of the current application to *command*: a visitor's, no worker's."""

    @with_appcontext
    @wraps(command)
    def visited(*args: Any, **options: Any) -> Any:
        state = current_app.extensions.get("msm")
        if state is None:
            raise click.UsageError(f"{current_app.name} does not keep its sessions in memcached")
        console: Console = state.console
        cluster = console.application.cluster
        if cluster is None:
            raise click.UsageError("MSM_NODES is not set: there is no cluster to look after")
        if not current_app.secret_key:
            raise click.UsageError("SECRET_KEY is not set: what workers say cannot be verified")
        console.visit()
        try:
            return command(console, *args, **options)
        except UnreachedError as error:
            raise click.ClickException(str(error)) from None
        except CommandError as error:
            raise click.UsageError(str(error)) from None
        finally:
            for node in cluster.nodes.values():
                node.close()

    return visited


def show(facts: dict[str, Any], lines: list[str], json_wanted: bool) -> None:  # noqa: FBT001
    """Print *facts* as JSON or *lines* as text, without anything a terminal would obey."""
    text = "\n".join(one_line(line, LONGEST_LINE) for line in lines)
    click.echo(json.dumps(facts) if json_wanted else text)


def status_lines(
    view: Snapshot, conditions: Sequence[Condition] = ()
) -> tuple[list[tuple[str, str]], bool]:
    """Return what there is to say of the fleet, and whether all is well."""
    live = _live(view)
    modes = Counter(worker.mode for worker in live)
    counted = [f"{modes[mode]} {mode}" for mode in ("distributed", "local", "stopped")]
    seen = f"{len(live)} of {max(len(live), view.observer.workers_known or 0)} workers"
    lines = [
        ("workers", ", ".join(text for text in counted if text[0] != "0") or "none seen"),
        ("seen", f"{seen}, {_way(view)}"),
    ]
    for name in (POLICY, ON_RECONNECT, DISTRIBUTION):
        choice = getattr(view, name)
        by = "configured"
        if choice.set_at is not None:
            by = f"chosen by {choice.set_by}, applied by {choice.applied_by} of {choice.of}"
        lines.append((name.replace("_", " "), f"{choice.value} ({by})"))
    for node in view.nodes:
        trusted = "trusted" if node.trusted else "not trusted"
        state = node.state or "unknown"
        up = f"up for {_up(node)} of {len(live)} workers"
        lines.append((node.id, f"{state}, {trusted}, {up}"))
    lines.append(("kept on hosts", f"{_kept(live)} sessions that the cluster does not know yet"))
    lines.append(("sessions lost", _lost(view)))
    failing = _failing(live)
    if failing:
        lines.append(("local storage", failing))
    for condition in conditions:
        lasts = _span(view.at - condition.since)
        lines.append((condition.level, f"{condition.text} (for {lasts})"))
    well = (
        len(live) == modes["distributed"] > 0
        and view.observer.complete
        and not failing
        and not (view.lost and view.lost.too_many)
        and not any(condition.error for condition in conditions)
        and all(node.trusted and _up(node) == len(live) for node in view.nodes)
    )
    lines.append(("all is well", "yes" if well else "no"))
    return lines, well


def status_facts(
    lines: list[tuple[str, str]], conditions: Sequence[Condition], *, well: bool
) -> dict[str, Any]:
    """Return what ``status_lines`` said as JSON takes it; there may be several conditions."""
    several = {condition.level for condition in conditions}
    facts = {name: text for name, text in lines if name not in several}
    return {**facts, "conditions": [condition._asdict() for condition in conditions], "well": well}


def _live(view: Snapshot) -> list[Worker]:
    """Return the workers that were heard of lately."""
    return [worker for worker in view.workers if not worker.stale and not worker.gone]


def _up(node: Node) -> int:
    return sum(opinion.state == "up" for opinion in node.opinions)


def _span(seconds: float) -> str:
    """Return a time in the largest unit of which it has more than two."""
    for unit, name in ((86_400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.0f} {name}"
    return f"{max(seconds, 0):.0f} s"


def _kept(live: list[Worker]) -> int:
    """Return how many sessions hosts alone have; all workers of a host count the same folder."""
    own, by_host = 0, dict[str, int]()
    for worker in live:
        dirty = worker.dirty or 0
        if worker.host is None or (worker.local and worker.local.kind == "simple"):
            own += dirty
        else:
            by_host[worker.host] = max(by_host.get(worker.host, 0), dirty)
    return own + sum(by_host.values())


def _lost(view: Snapshot) -> str:
    """Return how many sessions were lost, of how many, and why."""
    found = view.lost
    if found is None or not found.lost:
        return "0 in 15 min"
    why = [
        f"{count} {text}"
        for count, text in (
            (found.key_unknown, "signed with a key that is not known here"),
            (found.not_found, "not found"),
            (found.not_known, "whose nodes cannot be asked"),
        )
        if count
    ]
    verdict = ": too many" if found.too_many else ""
    asked = f"of about {found.asked} asked for"
    return f"{found.lost} in 15 min {asked}, {', '.join(why)}{verdict}"


def _failing(live: list[Worker]) -> str:
    """Return what is wrong with local storage, and for how many workers; empty if nothing is."""
    found = [worker.local.error for worker in live if worker.local and worker.local.error]
    return f"fails for {len(found)} of {len(live)} workers: {found[0]}" if found else ""


def _way(view: Snapshot) -> str:
    if view.observer.source == "fleet":
        return "through the nodes"
    return "of this host only: no node can be reached"


def node_rows(view: Snapshot, report: Report) -> list[dict[str, Any]]:
    """Return one row for each node."""
    found = {finding.node: finding for finding in report.nodes}
    workers = len(_live(view))
    return [
        {
            "node": node.id,
            "text": found[node.id].text,
            "up": found[node.id].up,
            "seen_up": f"{_up(node)}/{workers}",
            "items": node.stats.items if node.stats else None,
            "evictions": node.stats.evictions if node.stats else None,
        }
        for node in view.nodes
    ]


def worker_rows(view: Snapshot) -> list[dict[str, Any]]:
    """Return one row for each worker."""
    return [
        {
            "worker": worker.id,
            "status": "gone" if worker.gone else "stale" if worker.stale else "live",
            "mode": worker.mode or "unknown",
            "age": round(max(0.0, view.at - (worker.last_heard or 0.0)), 1),
            "version": worker.version,
            "dirty": worker.dirty,
        }
        for worker in view.workers
    ]


def fact_rows(rows: list[dict[str, Any]]) -> list[str]:
    """Return *rows* as an aligned table with a line of names."""
    if not rows:
        return []
    names = list(rows[0])
    cells = [names, *([_cell(row[name]) for name in names] for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(names))]
    return [
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    ]


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "-" if value is None else str(value)
