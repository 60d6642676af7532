"""``flask msm ...``: what an operator types. Creates nothing on the host, starts nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from flask_msm.cluster.control import DISTRIBUTION, ON_RECONNECT, POLICY, RUNNING, STOPPED

from .cli_fleet import (
    as_json,
    blacklist_rows,
    fact_rows,
    node_rows,
    reason_option,
    show,
    status_facts,
    status_lines,
    visiting,
    worker_rows,
)
from .command_group import msm_commands
from .console import POLICIES, RECONNECTS


if TYPE_CHECKING:
    from collections.abc import Callable

    from .checks import Report
    from .console import Console, Outcome
    from .inspection import Inspection


def _command(
    name: str, *, group: click.Group = msm_commands, changes: bool = False
) -> Callable[[Callable[..., Any]], click.Command]:
    """Register a command that gets the console and ``--json``, and ``--reason`` if it changes."""

    def registered(function: Callable[..., Any]) -> click.Command:
        command = as_json(visiting(function))
        return group.command(name)(reason_option(command) if changes else command)

    return registered


@_command("status")
def status(console: Console, *, as_json: bool) -> None:
    """Say how the fleet is; exit code 0 if all is well, 1 if not."""
    view, conditions = console.survey(), console.conditions()
    lines, well = status_lines(view, conditions)
    facts = status_facts(lines, conditions, well=well)
    show(facts, [f"{name:<14} {text}" for name, text in lines], as_json)
    raise SystemExit(0 if well else 1)


@_command("nodes")
def nodes(console: Console, *, as_json: bool) -> None:
    """List the nodes, how they are, and who thinks so."""
    report = console.check()
    rows = node_rows(console.survey(), report)
    show({"all_up": report.all_up, "nodes": rows}, fact_rows(rows), as_json)


@_command("workers")
def workers(console: Console, *, as_json: bool) -> None:
    """List the workers that can be seen."""
    view = console.survey()
    rows = worker_rows(view)
    text = fact_rows(rows) or ["no worker can be seen"]
    seen = {"complete": view.observer.complete, "source": view.observer.source}
    show({"workers": rows, **seen}, text, as_json)


@_command("check")
@click.option("--all-up", is_flag=True, help="Wait until every node is up and trusted.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0),
    default=60.0,
    show_default=True,
    help="With --all-up: how long to wait, in seconds.",
)
def check(console: Console, timeout: float, *, all_up: bool, as_json: bool) -> None:
    """Say whether losing any one node would lose nothing; exit code 0 if so, 1 if not.

    Nodes that are up are looked at as well: whether they list their keys, which rebuilds need, and
    whether records under this application's prefix are signed with its secrets. At most 2,000
    records and 5 seconds for each node.
    """
    report = console.check(timeout if all_up else 0.0)
    fit = [
        finding.node
        for finding in report.nodes
        if (finding.up or finding.foreign) and not finding.drained
    ]
    inspection = console.inspect(fit)
    _show_check(report, inspection, as_json=as_json)
    raise SystemExit(0 if report.all_up and not inspection.troubles else 1)


@_command("probe")
@click.argument("node")
def probe(console: Console, node: str, *, as_json: bool) -> None:
    """Ask NODE how it is; exit code 0 if it answers, 1 if not."""
    outcome = console.probe(node, **_order(""))
    took = round(outcome.milliseconds or 0.0, 1)
    show({"node": node, "error": outcome.error, "milliseconds": took}, [outcome.text], as_json)
    raise SystemExit(1 if outcome.error else 0)


@_command("drain", changes=True)
@click.argument("node")
def drain(console: Console, node: str, reason: str, *, as_json: bool) -> None:
    """Take NODE out of use: it is read, not written, and copied away."""
    done = console.drain(node, **_order(reason))
    text = f"{node} is being drained; 'flask msm nodes' says when it is drained."
    _show_change(done, {"node": node, "drain": "draining"}, text, as_json=as_json)


@_command("undrain", changes=True)
@click.argument("node")
def undrain(console: Console, node: str, reason: str, *, as_json: bool) -> None:
    """Take NODE into use again; it is rebuilt before it is trusted."""
    done = console.undrain(node, **_order(reason))
    text = f"{node} is in use again and waits for its rebuild."
    _show_change(done, {"node": node, "drain": None}, text, as_json=as_json)


def _choosing(command_name: str, name: str, values: tuple[str, ...], what: str) -> None:
    """Register a command that shows or changes one choice."""

    @click.argument("value", required=False, type=click.Choice([*values, "config"]))
    def command(console: Console, value: str | None, reason: str, *, as_json: bool) -> None:
        if value is None:
            holds = getattr(console.survey(), name)
            by = "" if holds.set_at is None else f", chosen by {holds.set_by}"
            text = f"{holds.value} (configured: {holds.configured}{by})"
            show({name: holds.value, "configured": holds.configured}, [text], as_json)
            return
        choose = console.set_policy if name == POLICY else console.set_on_reconnect
        done = choose(None if value == "config" else value, **_order(reason))
        now = console.value(name)
        _show_change(done, {name: now}, f"{what} is {now} now.", as_json=as_json)

    command.__doc__ = f"Show {what}, or change it for the whole fleet ('config' goes back)."
    _command(command_name, changes=True)(command)


_choosing("policy", POLICY, POLICIES, "the policy for what cannot be serialized")
_choosing("on-reconnect", ON_RECONNECT, RECONNECTS, "what happens when the cluster returns")


@_command("stop", changes=True)
def stop(console: Console, reason: str, *, as_json: bool) -> None:
    """Stop distribution at once: all workers keep sessions on their own hosts."""
    done = console.stop(**_order(reason))
    text = "distribution is stopped; 'flask msm resume' lets it go on."
    _show_change(done, {DISTRIBUTION: STOPPED}, text, as_json=as_json)


@_command("resume", changes=True)
def resume(console: Console, reason: str, *, as_json: bool) -> None:
    """Let distribution go on; what hosts kept is handed over or dropped (see on-reconnect)."""
    done = console.resume(**_order(reason))
    _show_change(done, {DISTRIBUTION: RUNNING}, "distribution goes on.", as_json=as_json)


@msm_commands.group("blacklist", invoke_without_command=True)
@as_json
@click.pass_context
def blacklist(context: click.Context, *, as_json: bool) -> None:
    """List the attributes that could not be serialized."""
    if context.invoked_subcommand is None:
        _list_blacklist(as_json=as_json)


@visiting
def _list_blacklist(console: Console, *, as_json: bool) -> None:
    rows = blacklist_rows(console)
    text = fact_rows(rows) or ["no attribute is blacklisted"]
    show({"blacklist": rows}, text, as_json)


@_command("clear", group=blacklist, changes=True)
@click.argument("attribute", required=False)
def clear(console: Console, attribute: str | None, reason: str, *, as_json: bool) -> None:
    """Forget ATTRIBUTE, or everything; what cannot be serialized is entered again."""
    attributes = None if attribute is None else [attribute]
    done = console.clear_blacklist(attributes, **_order(reason))
    text = "everything" if attribute is None else repr(attribute)
    cleared = {"cleared": attribute or "everything"}
    _show_change(done, cleared, f"{text} is forgotten.", as_json=as_json)


def _pinning(command_name: str, *, pinned: bool) -> None:
    @click.argument("attribute")
    def command(console: Console, attribute: str, reason: str, *, as_json: bool) -> None:
        act = console.pin if pinned else console.unpin
        done = act(attribute, **_order(reason))
        text = f"{attribute!r} is {'always stored as None' if pinned else 'tried again'}."
        _show_change(done, {"attribute": attribute, "pinned": pinned}, text, as_json=as_json)

    what = "Store None for ATTRIBUTE without trying." if pinned else "Try ATTRIBUTE again."
    command.__doc__ = what
    _command(command_name, group=blacklist, changes=True)(command)


_pinning("pin", pinned=True)
_pinning("unpin", pinned=False)


def _order(reason: str) -> dict[str, Any]:
    """Return the arguments that all commands of the console take."""
    return {"actor": "command line", "reason": reason, "based_on": None}


def _show_change(done: Outcome, facts: dict[str, Any], text: str, *, as_json: bool) -> None:
    """Say what was changed, and which nodes know it now."""
    told = ", ".join(done.nodes) or "no node: only workers of this host hear of it"
    show({**facts, "told": list(done.nodes)}, [text, f"Told to {told}."], as_json)


def _show_check(report: Report, inspection: Inspection, *, as_json: bool) -> None:
    facts = {
        "all_up": report.all_up,
        "nodes": [finding._asdict() for finding in report.nodes],
        "looked_at": inspection.looked_at,
        "troubles": [trouble._asdict() for trouble in inspection.troubles],
    }
    lines = [f"{finding.node:<20} {finding.text}" for finding in report.nodes]
    lines += [f"to do: {trouble.node} {trouble.text}" for trouble in inspection.troubles]
    lines.append("every node is up" if report.all_up else "not every node is up")
    show(facts, lines, as_json)
