"""``flask msm ...``: what an operator types. Creates nothing, starts nothing."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import click
from flask import current_app
from flask.cli import AppGroup

from .errors import CommandError
from .upkeep.commander import Order


if TYPE_CHECKING:
    from .assembly import ClusterParts
    from .gate import Report


msm_commands = AppGroup("msm", help="Look after the sessions in memcached.")


@msm_commands.command("check")
@click.option("--all-up", is_flag=True, help="Wait until every node is up and trusted.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0),
    default=60.0,
    show_default=True,
    help="With --all-up: how long to wait, in seconds.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def check(context: click.Context, timeout: float, *, all_up: bool, as_json: bool) -> None:
    """Say whether losing any one node would lose nothing; exit code 0 if so, 1 if not."""
    report = _cluster().gate.wait(timeout if all_up else 0.0, time.sleep)
    _show(report, as_json=as_json)
    context.exit(0 if report.all_up else 1)


@msm_commands.command("nodes")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def nodes(*, as_json: bool) -> None:
    """List the nodes and how they are."""
    _show(_cluster().gate.check(), as_json=as_json)


@msm_commands.command("drain")
@click.argument("node")
@click.option("--reason", default="", help="Kept with the change.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def drain(node: str, reason: str, *, as_json: bool) -> None:
    """Take NODE out of use: it is read, not written, and copied away."""
    _set_drain(node, "draining", reason)
    text = f"{node} is being drained; 'flask msm nodes' says when it is drained."
    click.echo(json.dumps({"node": node, "drain": "draining"}) if as_json else text)


@msm_commands.command("undrain")
@click.argument("node")
@click.option("--reason", default="", help="Kept with the change.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def undrain(node: str, reason: str, *, as_json: bool) -> None:
    """Take NODE into use again; it is rebuilt before it is trusted."""
    _set_drain(node, None, reason)
    text = f"{node} is in use again and waits for its rebuild."
    click.echo(json.dumps({"node": node, "drain": None}) if as_json else text)


def _set_drain(node: str, value: str | None, reason: str) -> None:
    cluster = _cluster()
    order = Order("command line", reason)
    try:
        done = cluster.commander.drain(node, order, back=value is None)
    except CommandError as error:
        raise click.UsageError(str(error)) from None
    if not done.nodes:
        raise click.ClickException("no node could be reached; only workers of this host hear of it")


def _cluster() -> ClusterParts:
    state = current_app.extensions.get("msm")
    if state is None:
        raise click.UsageError(f"{current_app.name} does not keep its sessions in memcached")
    cluster: ClusterParts | None = state.parts.cluster
    if cluster is None:
        raise click.UsageError("MSM_NODES is not set: there is no cluster to look after")
    return cluster


def _show(report: Report, *, as_json: bool) -> None:
    if as_json:
        nodes = [finding._asdict() for finding in report.nodes]
        click.echo(json.dumps({"all_up": report.all_up, "nodes": nodes}))
        return
    for finding in report.nodes:
        click.echo(f"{finding.node:<20} {finding.text}")
    click.echo("every node is up" if report.all_up else "not every node is up")
