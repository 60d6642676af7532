"""``flask msm ...``: what an operator looks at. Creates nothing on the host, starts nothing."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

import click

from flask_msm.errors import one_line

from .cli_fleet import (
    blacklist_rows,
    event_line,
    fact_rows,
    history_lines,
    node_rows,
    session_lines,
    status_lines,
    worker_rows,
)
from .cli_frame import (
    COMMANDS,
    LONGEST_LINE,
    PAUSE,
    Span,
    answering,
    complete_nodes,
    looking,
    operator,
    show,
    visiting,
)
from .observer import REFRESH
from .state.document import document, entry_facts, event_facts
from .state.history_document import RANGES, history_document
from .state.session import answer, session_document


if TYPE_CHECKING:
    from collections.abc import Callable

    from .checks import Report
    from .console import Console
    from .history import RangeName
    from .inspection import Inspection
    from .snapshot import Event, Snapshot


@looking("status")
@click.option("-w", "--watch", is_flag=True, help="Look again every two seconds, until Ctrl-C.")
def status(console: Console, *, watch: bool, as_json: bool) -> None:
    """Say how the fleet is; exit code 0 or 1.

    0 if all is well, 1 if not. As JSON it is the document of ``api/v1/state``.
    """
    well = False

    def look() -> None:
        nonlocal well
        view = console.survey()
        lines, well = status_lines(view)
        if watch and not as_json and sys.stdout.isatty():
            click.clear()
        facts = document(view, poll_after=REFRESH)
        show(facts, [f"{name:<14} {text}" for name, text in lines], as_json)

    _again_and_again(look, endless=watch)
    raise SystemExit(0 if well else 1)


@looking("nodes")
def nodes(console: Console, *, as_json: bool) -> None:
    """List the nodes, how they are, and who thinks so."""
    view = console.survey()
    if as_json:
        return _show_part(view, "nodes", "nodes_total", "replicas")
    return show({}, fact_rows(node_rows(view, console.check())), json_wanted=False)


@looking("workers")
def workers(console: Console, *, as_json: bool) -> None:
    """List the workers that can be seen."""
    view = console.survey()
    if as_json:
        return _show_part(view, "observer", "workers", "workers_total")
    lines = fact_rows(worker_rows(view)) or ["no worker can be seen"]
    return show({}, lines, json_wanted=False)


@looking("events")
@click.option("--since", type=Span(), help="Only those of the last 30s, 15m, 1h, 2d.")
@click.option("-f", "--follow", is_flag=True, help="Go on with what happens, until Ctrl-C.")
def events(console: Console, *, since: float | None, follow: bool, as_json: bool) -> None:
    """List what happened, oldest first."""
    shown: set[str] = set()

    def new() -> list[Event]:
        view = console.survey()
        found = [
            event
            for event in reversed(view.events)
            if event.id not in shown and (since is None or event.at >= view.at - since)
        ]
        shown.update(event.id for event in found)
        return found

    def look() -> None:
        for event in new():
            show(event_facts(event), [event_line(event)], as_json)

    if follow:
        return _again_and_again(look, endless=True)
    found = new()
    facts = {"events": [event_facts(event) for event in found], "events_total": len(found)}
    return show(facts, [*map(event_line, found)] or ["nothing happened"], as_json)


@looking("history")
@click.option("--range", "name", type=click.Choice(RANGES), default="24h", show_default=True)
def history(console: Console, name: RangeName, *, as_json: bool) -> None:
    """Say what outages and changes there were."""
    console.survey()
    found = console.history(name)
    show(history_document(found), history_lines(found), as_json)


@looking("session")
@click.argument("ref")
@click.option("--as", "who", help="Who asks; user@host if not given.")
def session(console: Console, ref: str, *, who: str | None, as_json: bool) -> None:
    """Say where the session REF is; '-' reads its cookie.

    REF is its public name, as logs show it. With '-' the first line of the standard input is its
    ref or the value of its cookie. Exit code 1 if there is no such session.
    """
    found = console.lookup(ref_of(ref), actor=who or operator(), reason="")
    if found is None:
        show(
            {"session": None},
            ["ended or expired, or there never was one: no trace of it is left"],
            as_json,
        )
        raise SystemExit(1)
    facts = session_document(found)
    del facts["handle"]
    said = answer(found)
    show({"session": facts}, [said.title, said.text, *session_lines(found)], as_json)


@looking("check")
@click.option("--all-up", is_flag=True, help="Wait until every node is up.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0),
    default=60.0,
    show_default=True,
    help="With --all-up: how long to wait, in seconds.",
)
def check(console: Console, timeout: float, *, all_up: bool, as_json: bool) -> None:
    """Say whether the next node may be restarted.

    Whether losing any one node would lose nothing; exit code 0 if so, 1 if not, with what it waits
    for. By the same rule as status: 1 also while sessions are being lost. With --all-up that is
    said and does not count, for it does not end by waiting. Nodes that are up are looked at as
    well: whether they list their keys, which rebuilds need, and whether records under this
    application's prefix are signed with its secrets. At most 2,000 records and 5 seconds for each
    node.
    """
    report = console.check(timeout if all_up else 0.0, on_wait=_said_once())
    fit = [one.node for one in report.nodes if one.answers and not one.drained]
    inspection = console.inspect(fit)
    is_safe = report.all_up and not inspection.troubles
    _show_check(report, inspection, is_safe=is_safe, as_json=as_json)
    raise SystemExit(0 if is_safe and (all_up or not report.lost) else 1)


@looking("probe")
@click.argument("node", shell_complete=complete_nodes)
@click.option("--as", "who", help="Who asks; user@host if not given.")
def probe(console: Console, node: str, *, who: str | None, as_json: bool) -> None:
    """Ask NODE how it is; exit code 0 or 1."""
    outcome = console.probe(node, actor=who or operator(), reason="", based_on=None)
    took = round(outcome.milliseconds or 0.0, 1)
    show({"node": node, "error": outcome.error, "milliseconds": took}, [outcome.text], as_json)
    raise SystemExit(1 if outcome.error else 0)


@COMMANDS.group("blacklist", invoke_without_command=True)
@answering
@click.pass_context
def blacklist(context: click.Context, *, as_json: bool) -> None:
    """List attributes that could not be serialized."""
    if context.invoked_subcommand is None:
        _list_blacklist(as_json=as_json)


@visiting
def _list_blacklist(console: Console, *, as_json: bool) -> None:
    entries = console.listed()
    lines = fact_rows(blacklist_rows(entries)) or ["every attribute could be stored"]
    facts = {"blacklist": [*map(entry_facts, entries)], "blacklist_total": len(entries)}
    show(facts, lines, as_json)


def ref_of(ref: str) -> str:
    """Return *ref*, or what the standard input says if it is a dash: a cookie is a credential."""
    return sys.stdin.readline().strip() if ref == "-" else ref


def _show_part(view: Snapshot, *names: str) -> None:
    """Print a part of the state document."""
    state = document(view, poll_after=REFRESH)
    show({name: state[name] for name in ("schema", "generated_at", *names)}, [], json_wanted=True)


def _again_and_again(look: Callable[[], Any], *, endless: bool) -> None:
    """Look once, or until the operator has seen enough."""
    try:
        while True:
            look()
            if not endless:
                return
            time.sleep(PAUSE)
    except KeyboardInterrupt:
        return


def _said_once() -> Callable[[Report], None]:
    """Return what says on the error output what is waited for, whenever that is something else."""
    last: tuple[str, ...] = ()

    def say(report: Report) -> None:
        nonlocal last
        if report.waits_for != last:
            last = report.waits_for
            click.echo(one_line(f"waits: {'; '.join(last)}", LONGEST_LINE), err=True)

    return say


def _show_check(report: Report, inspection: Inspection, *, is_safe: bool, as_json: bool) -> None:
    facts = {
        "all_up": report.all_up,
        "safe_to_restart": is_safe,
        "waits_for": list(report.waits_for),
        "lost": report.lost,
        "nodes": [finding._asdict() for finding in report.nodes],
        "looked_at": inspection.looked_at,
        "troubles": [trouble._asdict() for trouble in inspection.troubles],
    }
    lines = [f"{finding.node:<20} {finding.text}" for finding in report.nodes]
    lines += [f"to do: {trouble.node} {trouble.text}" for trouble in inspection.troubles]
    lines += [f"to do: {report.lost}"] if report.lost else []
    lines += [f"waits: {text}" for text in report.waits_for]
    if not is_safe:
        lines.append("do not restart a node now: see what is above")
    elif report.lost:
        lines.append("all nodes are up; find out why sessions are lost before one is restarted")
    else:
        lines.append("safe to restart the next node")
    show(facts, lines, as_json)
