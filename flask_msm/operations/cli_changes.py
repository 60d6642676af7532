"""``flask msm ...``: what an operator changes. What hurts asks at a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from flask_msm.cluster.control import DISTRIBUTION, ON_RECONNECT, POLICY, RUNNING, STOPPED
from flask_msm.errors import CommandError

from .cli import blacklist, ref_of
from .cli_frame import (
    Order,
    Span,
    changing,
    complete_attributes,
    complete_nodes,
    goes_on,
    show,
    show_change,
)
from .console import POLICIES, RECONNECTS
from .state.facts import few_copies


if TYPE_CHECKING:
    from .console import Console


#: What follows from a choice that may hurt.
_HURTS = {
    "raise": "what cannot be serialized makes its request fail with status 500",
    "stop": "the first attribute that cannot be serialized stops distribution for all workers",
    "discard": "what hosts kept during an outage is dropped when the cluster returns",
}


@changing("drain")
@click.argument("node", shell_complete=complete_nodes)
@click.option("--force", is_flag=True, help="Also if fewer nodes are left than copies.")
def drain(console: Console, node: str, *, force: bool, order: Order) -> None:
    """Take NODE out of use: read, copied away, not written."""
    trouble = few_copies(console.survey(), node)
    if trouble and not force and not order.dry_run:
        raise CommandError(f"{trouble}; --force drains it all the same")
    follows = f"{node} is read and no longer written, and its sessions are copied away"
    if goes_on(order, f"{follows}; {trouble}" if trouble else follows):
        done = console.drain(node, **order.by, force=force)
        text = f"{done.text}; 'flask msm nodes' says how it is."
        show_change(console, order, done, {"node": node, "drain": done.after}, text)


@changing("undrain")
@click.argument("node", shell_complete=complete_nodes)
def undrain(console: Console, node: str, *, order: Order) -> None:
    """Take NODE into use again; it is filled first."""
    if goes_on(
        order, f"{node} is written again, and is filled before it counts as up", hurts=False
    ):
        done = console.undrain(node, **order.by)
        text = f"{done.text}; 'flask msm check' says whether it is up."
        show_change(console, order, done, {"node": node, "drain": None}, text)


def _choosing(command_name: str, name: str, values: tuple[str, ...], what: str) -> None:
    """Register a command that shows or changes one choice."""

    @click.argument("value", required=False, type=click.Choice([*values, "config"]))
    def command(console: Console, value: str | None, *, order: Order) -> None:
        holds = getattr(console.survey(), name)
        if value is None:
            by = "" if holds.set_at is None else f", chosen by {holds.set_by}"
            text = f"{holds.value} (configured: {holds.configured}{by})"
            show({name: holds.value, "configured": holds.configured}, [text], order.as_json)
            return
        to = holds.configured if value == "config" else value
        follows = f"{name}: {holds.value} -> {to}"
        if to in _HURTS:
            follows += f": {_HURTS[to]}"
        if goes_on(order, follows, hurts=to in _HURTS and to != holds.value):
            choose = console.set_policy if name == POLICY else console.set_on_reconnect
            done = choose(None if value == "config" else value, **order.by)
            now = console.value(name)
            show_change(console, order, done, {name: now}, f"{what} is {now} now.")

    command.__doc__ = f"Show {what}, or change it.\n\n    For the whole fleet; 'config' goes back."
    changing(command_name)(command)


_choosing("policy", POLICY, POLICIES, "the failure policy")
_choosing("on-reconnect", ON_RECONNECT, RECONNECTS, "what happens at a return")


@changing("stop")
def stop(console: Console, *, order: Order) -> None:
    """Stop distribution: each host keeps its sessions."""
    follows = "all workers keep sessions on their own hosts, and no other host sees them"
    if goes_on(order, follows):
        done = console.stop(**order.by)
        text = "distribution is stopped; 'flask msm resume' lets it go on."
        show_change(console, order, done, {DISTRIBUTION: STOPPED}, text)


@changing("resume")
def resume(console: Console, *, order: Order) -> None:
    """Let distribution go on.

    What hosts kept is handed over or dropped (see on-reconnect).
    """
    then = "dropped" if console.survey().on_reconnect.value == "discard" else "handed over"
    if goes_on(order, f"what hosts kept is {then}", hurts=then == "dropped"):
        done = console.resume(**order.by)
        show_change(console, order, done, {DISTRIBUTION: RUNNING}, "distribution goes on.")


@changing("silence")
@click.argument("node", required=False, shell_complete=complete_nodes)
@click.option("--all", "everything", is_flag=True, help="The whole fleet.")
@click.option("--for", "seconds", type=Span(), default="1h", show_default=True, help="How long.")
@click.option("--note", default="", help="For the next person; the same as --reason.")
def silence(
    console: Console,
    node: str | None,
    *,
    everything: bool,
    seconds: float,
    note: str,
    order: Order,
) -> None:
    """Send no alerts of NODE, or --all, for a time.

    Status and dashboard go on showing it, with the note and until when.
    """
    _check_target(node, everything=everything)
    what = node or "the fleet"
    if goes_on(order, f"no alerts of {what} for {seconds:.0f} s", hurts=False):
        done = console.silence(node, seconds, **{**order.by, "reason": note or order.reason})
        show_change(console, order, done, {"silenced": node}, f"{done.text}.")


@changing("unsilence")
@click.argument("node", required=False, shell_complete=complete_nodes)
@click.option("--all", "everything", is_flag=True, help="The whole fleet.")
def unsilence(console: Console, node: str | None, *, everything: bool, order: Order) -> None:
    """Send alerts of NODE, or --all, again."""
    _check_target(node, everything=everything)
    if goes_on(order, f"alerts of {node or 'the fleet'} are sent again", hurts=False):
        done = console.unsilence(node, **order.by)
        show_change(console, order, done, {"silenced": None}, f"{done.text}.")


def _check_target(node: str | None, *, everything: bool) -> None:
    if (node is None) != everything:
        raise CommandError("name one node, or give --all")


@changing("revoke")
@click.argument("ref")
def revoke(console: Console, ref: str, *, order: Order) -> None:
    """End the session REF everywhere; '-' reads its cookie.

    REF is its public name, as logs show it. With '-' the first line of the standard input is its
    ref or the value of its cookie.
    """
    found = console.lookup(ref_of(ref), actor=order.who, reason=order.reason)
    if found is None:
        raise CommandError("there is no such session")
    if goes_on(order, f"session {found.ref} ends: who uses it is signed out"):
        done = console.revoke(found.handle, **order.by)
        show_change(console, order, done, {"revoked": found.ref}, f"{done.text}.")


@changing("clear", group=blacklist)
@click.argument("attribute", required=False, shell_complete=complete_attributes)
@click.option("--all", "everything", is_flag=True, help="Forget all attributes.")
def clear(console: Console, attribute: str | None, *, everything: bool, order: Order) -> None:
    """Forget ATTRIBUTE, or --all; it is tried again.

    What still cannot be serialized is entered again.
    """
    if (attribute is None) != everything:
        raise CommandError("name one attribute, or give --all")
    text = "everything" if attribute is None else repr(attribute)
    if goes_on(order, f"{text} on the blacklist is forgotten and tried again", hurts=everything):
        done = console.clear_blacklist(None if attribute is None else [attribute], **order.by)
        cleared = {"cleared": attribute or "everything"}
        show_change(console, order, done, cleared, f"{text} is forgotten.")


def _pinning(command_name: str, *, pinned: bool) -> None:
    @click.argument("attribute", shell_complete=complete_attributes)
    def command(console: Console, attribute: str, *, order: Order) -> None:
        text = f"{attribute!r} is {'always stored as None' if pinned else 'tried again'}."
        if goes_on(order, text, hurts=False):
            act = console.pin if pinned else console.unpin
            done = act(attribute, **order.by)
            facts = {"attribute": attribute, "pinned": pinned}
            show_change(console, order, done, facts, text)

    what = "Store None for ATTRIBUTE without trying." if pinned else "Try ATTRIBUTE again."
    command.__doc__ = what
    changing(command_name, group=blacklist)(command)


_pinning("pin", pinned=True)
_pinning("unpin", pinned=False)
