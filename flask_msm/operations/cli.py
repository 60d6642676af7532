"""``flask msm ...``: what an operator types. Creates nothing on the host, starts nothing."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click
from flask.cli import AppGroup

from flask_msm.cluster.control import DISTRIBUTION, ON_RECONNECT, POLICY, RUNNING
from flask_msm.errors import CommandError, quoted
from flask_msm.settings.settings import OnReconnect, PolicyName

from .cli_fleet import (
    Visit,
    as_json,
    fact_rows,
    node_rows,
    reason_option,
    show,
    status_facts,
    status_lines,
    visiting,
    worker_rows,
)
from .orders import Order


if TYPE_CHECKING:
    from collections.abc import Callable

    from .checks import Report
    from .inspection import Inspection
    from .orders import Done

WHO = "command line"

msm_commands = AppGroup("msm", help="Look after the sessions in memcached.")


@msm_commands.command("status")
@as_json
@visiting
def status(visit: Visit, *, as_json: bool) -> None:
    """Say how the fleet is; exit code 0 if all is well, 1 if not."""
    view = visit.view()
    lines, well = status_lines(view)
    facts = status_facts(view, lines, well=well)
    show(facts, [f"{name:<14} {text}" for name, text in lines], as_json)
    raise SystemExit(0 if well else 1)


@msm_commands.command("nodes")
@as_json
@visiting
def nodes(visit: Visit, *, as_json: bool) -> None:
    """List the nodes, how they are, and who thinks so."""
    report = visit.operations.gate.check()
    rows = node_rows(visit.view(), report)
    show({"all_up": report.all_up, "nodes": rows}, fact_rows(rows), as_json)


@msm_commands.command("workers")
@as_json
@visiting
def workers(visit: Visit, *, as_json: bool) -> None:
    """List the workers that can be seen."""
    view = visit.view()
    rows = worker_rows(view)
    text = fact_rows(rows) or ["no worker can be seen"]
    show({"workers": rows, "complete": view.complete, "source": view.seen.source}, text, as_json)


@msm_commands.command("check")
@click.option("--all-up", is_flag=True, help="Wait until every node is up and trusted.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0),
    default=60.0,
    show_default=True,
    help="With --all-up: how long to wait, in seconds.",
)
@as_json
@visiting
def check(visit: Visit, timeout: float, *, all_up: bool, as_json: bool) -> None:
    """Say whether losing any one node would lose nothing; exit code 0 if so, 1 if not.

    Nodes that are up are looked at as well: whether they list their keys, which rebuilds need, and
    whether records under this application's prefix are signed with its secrets. At most 2,000
    records and 5 seconds for each node.
    """
    report = visit.operations.gate.wait(timeout if all_up else 0.0, time.sleep)
    fit = [
        finding.node
        for finding in report.nodes
        if (finding.up or finding.foreign) and not finding.drained
    ]
    inspection = visit.operations.inspector.inspect(fit)
    _show_check(report, inspection, as_json=as_json)
    raise SystemExit(0 if report.all_up and not inspection.troubles else 1)


@msm_commands.command("probe")
@click.argument("node")
@as_json
@visiting
def probe(visit: Visit, node: str, *, as_json: bool) -> None:
    """Ask NODE how it is; exit code 0 if it answers, 1 if not."""
    _known(visit, node)
    began = time.monotonic()
    trouble = visit.cluster.prober.probe(node)
    took = (time.monotonic() - began) * 1000
    text = f"{node} answered in {took:.1f} ms" if trouble is None else f"{node}: {trouble}"
    show({"node": node, "error": trouble, "milliseconds": round(took, 1)}, [text], as_json)
    raise SystemExit(1 if trouble else 0)


@msm_commands.command("drain")
@click.argument("node")
@reason_option
@as_json
@visiting
def drain(visit: Visit, node: str, reason: str, *, as_json: bool) -> None:
    """Take NODE out of use: it is read, not written, and copied away."""
    done = _do(lambda: visit.operations.commander.drain(node, Order(WHO, reason), back=False))
    text = f"{node} is being drained; 'flask msm nodes' says when it is drained."
    _told(visit, done, {"node": node, "drain": "draining"}, text, as_json=as_json)


@msm_commands.command("undrain")
@click.argument("node")
@reason_option
@as_json
@visiting
def undrain(visit: Visit, node: str, reason: str, *, as_json: bool) -> None:
    """Take NODE into use again; it is rebuilt before it is trusted."""
    done = _do(lambda: visit.operations.commander.drain(node, Order(WHO, reason), back=True))
    text = f"{node} is in use again and waits for its rebuild."
    _told(visit, done, {"node": node, "drain": None}, text, as_json=as_json)


def _choosing(name: str, values: tuple[str, ...], what: str) -> Callable[..., Any]:
    """Return a command that shows or changes one choice."""

    @click.argument("value", required=False, type=click.Choice([*values, "config"]))
    @reason_option
    @as_json
    @visiting
    def command(visit: Visit, value: str | None, reason: str, *, as_json: bool) -> None:
        if value is None:
            setting = visit.view().settings[name]
            by = f", chosen by {setting.choice.who}" if setting.choice.value else ""
            text = f"{setting.value} (configured: {setting.configured}{by})"
            show({name: setting.value, "configured": setting.configured}, [text], as_json)
            return
        chosen = None if value == "config" else value
        done = _do(
            lambda: visit.operations.commander.choose(name, chosen, values, Order(WHO, reason))
        )
        holds = visit.operations.commander.value(name)
        _told(visit, done, {name: holds}, f"{what} is {holds} now.", as_json=as_json)

    command.__doc__ = f"Show {what}, or change it for the whole fleet ('config' goes back)."
    return command


msm_commands.command("policy")(
    _choosing(POLICY, PolicyName.__args__, "the policy for what cannot be serialized")  # type: ignore[attr-defined]
)
msm_commands.command("on-reconnect")(
    _choosing(ON_RECONNECT, OnReconnect.__args__, "what happens when the cluster returns")  # type: ignore[attr-defined]
)


@msm_commands.command("stop")
@reason_option
@as_json
@visiting
def stop(visit: Visit, reason: str, *, as_json: bool) -> None:
    """Stop distribution at once: all workers keep sessions on their own hosts."""
    done = _do(lambda: visit.operations.commander.distribute(Order(WHO, reason), stop=True))
    text = "distribution is stopped; 'flask msm resume' lets it go on."
    _told(visit, done, {DISTRIBUTION: "stopped"}, text, as_json=as_json)


@msm_commands.command("resume")
@reason_option
@as_json
@visiting
def resume(visit: Visit, reason: str, *, as_json: bool) -> None:
    """Let distribution go on; what hosts kept is handed over or dropped (see on-reconnect)."""
    done = _do(lambda: visit.operations.commander.distribute(Order(WHO, reason), stop=False))
    _told(visit, done, {DISTRIBUTION: RUNNING}, "distribution goes on.", as_json=as_json)


@msm_commands.group("blacklist", invoke_without_command=True)
@as_json
@click.pass_context
def blacklist(context: click.Context, *, as_json: bool) -> None:
    """List the attributes that could not be serialized."""
    if context.invoked_subcommand is None:
        _list_blacklist(as_json=as_json)


@visiting
def _list_blacklist(visit: Visit, *, as_json: bool) -> None:
    rows = visit.blacklist()
    text = fact_rows(rows) or ["no attribute is blacklisted"]
    show({"blacklist": rows}, text, as_json)


@blacklist.command("clear")
@click.argument("attribute", required=False)
@reason_option
@as_json
@visiting
def clear(visit: Visit, attribute: str | None, reason: str, *, as_json: bool) -> None:
    """Forget ATTRIBUTE, or everything; what cannot be serialized is entered again."""
    done = _do(
        lambda: visit.operations.commander.clear(
            None if attribute is None else [attribute], Order(WHO, reason)
        )
    )
    text = "everything" if attribute is None else repr(attribute)
    cleared = {"cleared": attribute or "everything"}
    _told(visit, done, cleared, f"{text} is forgotten.", as_json=as_json)


def _pinning(*, pinned: bool) -> Callable[..., Any]:
    @click.argument("attribute")
    @reason_option
    @as_json
    @visiting
    def command(visit: Visit, attribute: str, reason: str, *, as_json: bool) -> None:
        order = Order(WHO, reason)
        if not pinned and attribute in visit.console.settings.blacklist:
            raise click.UsageError(f"MSM_BLACKLIST pins {quoted(attribute)}; it is unpinned there")
        done = _do(lambda: visit.operations.commander.pin(attribute, order, pinned=pinned))
        text = f"{attribute!r} is {'always stored as None' if pinned else 'tried again'}."
        _told(visit, done, {"attribute": attribute, "pinned": pinned}, text, as_json=as_json)

    what = "Store None for ATTRIBUTE without trying." if pinned else "Try ATTRIBUTE again."
    command.__doc__ = what
    return command


blacklist.command("pin")(_pinning(pinned=True))
blacklist.command("unpin")(_pinning(pinned=False))


def _do(act: Callable[[], Done]) -> Done:
    try:
        return act()
    except CommandError as error:
        raise click.UsageError(str(error)) from None


def _told(visit: Visit, done: Done, facts: dict[str, Any], text: str, *, as_json: bool) -> None:
    """Say what was changed, and who hears of it now."""
    shelf = visit.application.local.shelf
    if not done.nodes and (shelf is None or shelf.place is None):
        raise click.ClickException("no node could be reached, nothing was changed")
    told = ", ".join(done.nodes) or "no node: only workers of this host hear of it"
    show({**facts, "told": list(done.nodes)}, [text, f"Told to {told}."], as_json)


def _known(visit: Visit, node: str) -> None:
    if node not in visit.cluster.nodes:
        known = ", ".join(visit.cluster.nodes)
        raise click.UsageError(f"there is no node {node!r}; there are {known}")


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
