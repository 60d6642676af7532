"""What the commands share: a look at the fleet from outside, and tables of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any

import click
from flask import current_app
from flask.cli import with_appcontext

from flask_msm.errors import CommandError, UnreachedError, one_line
from flask_msm.sessions.overrides import BLACKLIST_NOTE


if TYPE_CHECKING:
    from .checks import Report
    from .console import Console
    from .report_reader import FleetView


#: Longest line that is printed, characters.
LONGEST_LINE = 1000

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
reason_option = click.option("--reason", default="", help="Kept with the change.")


def blacklist_rows(console: Console) -> list[dict[str, Any]]:
    """Return the entries of all workers that can be seen, and what is pinned."""
    application, cluster = console.application, console.application.cluster
    console.survey()
    if noted := application.local.get_blob(BLACKLIST_NOTE, application.keys()):
        application.repository.serialization.blacklist.merge(noted)
    if cluster is not None:
        cluster.learner.on_learned()
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


def status_lines(view: FleetView) -> tuple[list[tuple[str, str]], bool]:
    """Return what there is to say of the fleet, and whether all is well."""
    modes = view.modes()
    live = len(view.live)
    lines = [
        ("workers", ", ".join(f"{n} {mode}" for mode, n in modes.items() if n) or "none seen"),
        ("seen", f"{live} of {max(live, len(view.seen.known))} workers, {_way(view)}"),
    ]
    for name, setting in view.settings.items():
        by = f"chosen by {setting.choice.who}" if setting.choice.value else "configured"
        applied = f", applied by {setting.applied} of {setting.of}" if setting.choice.value else ""
        lines.append((name.replace("_", " "), f"{setting.value} ({by}{applied})"))
    for node in view.nodes:
        trusted = "trusted" if node.trusted else "not trusted"
        lines.append((node.id, f"{node.state}, {trusted}, up for {node.up} of {node.of} workers"))
    lines.append(("kept on hosts", f"{_kept(view)} sessions that the cluster does not know yet"))
    failing = _failing(view)
    if failing:
        lines.append(("local storage", failing))
    for condition in view.conditions:
        lasts = _span(view.seen.at - condition.since)
        lines.append((condition.level, f"{condition.text} (for {lasts})"))
    well = (
        live == modes["distributed"] > 0
        and view.complete
        and not failing
        and not any(condition.error for condition in view.conditions)
        and all(node.trusted and node.up == node.of for node in view.nodes)
    )
    lines.append(("all is well", "yes" if well else "no"))
    return lines, well


def status_facts(view: FleetView, lines: list[tuple[str, str]], *, well: bool) -> dict[str, Any]:
    """Return what ``status_lines`` said as JSON takes it; there may be several conditions."""
    several = {condition.level for condition in view.conditions}
    conditions = [condition._asdict() for condition in view.conditions]
    said = {name: text for name, text in lines if name not in several}
    return {**said, "conditions": conditions, "well": well}


def _span(seconds: float) -> str:
    """Return a time in the largest unit of which it has more than two."""
    for unit, name in ((86_400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.0f} {name}"
    return f"{max(seconds, 0):.0f} s"


def _kept(view: FleetView) -> int:
    """Return how many sessions hosts alone have; all workers of a host count the same folder."""
    own, by_host = 0, dict[str, int]()
    for worker in view.live:
        dirty = worker.facts.inner("local").whole("dirty") or 0
        host = worker.facts.text("host")
        if host is None or worker.facts.inner("local").text("kind") == "simple":
            own += dirty
        else:
            by_host[host] = max(by_host.get(host, 0), dirty)
    return own + sum(by_host.values())


def _failing(view: FleetView) -> str:
    """Return what is wrong with local storage, and for how many workers; empty if nothing is."""
    errors = [worker.facts.inner("local").text("error") for worker in view.live]
    found = [error for error in errors if error]
    if not found:
        return ""
    return f"fails for {len(found)} of {len(view.live)} workers: {found[0]}"


def _way(view: FleetView) -> str:
    if view.seen.source == "fleet":
        return "through the nodes"
    return "of this host only: no node can be reached"


def node_rows(view: FleetView, report: Report) -> list[dict[str, Any]]:
    """Return one row for each node."""
    found = {finding.node: finding for finding in report.nodes}
    return [
        {
            "node": node.id,
            "text": found[node.id].text,
            "up": found[node.id].up,
            "seen_up": f"{node.up}/{node.of}",
            "items": node.facts.inner("numbers").whole("items"),
            "evictions": node.facts.inner("numbers").whole("evictions"),
        }
        for node in view.nodes
    ]


def worker_rows(view: FleetView) -> list[dict[str, Any]]:
    """Return one row for each worker."""
    return [
        {
            "worker": worker.name,
            "status": worker.status,
            "mode": worker.mode,
            "age": round(worker.age, 1),
            "version": worker.facts.text("version"),
            "dirty": worker.facts.inner("local").whole("dirty"),
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
    if value is None:
        return "-"
    return (
        {True: "yes", False: "no"}.get(value, str(value)) if isinstance(value, bool) else str(value)
    )
