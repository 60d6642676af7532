"""Sessions that were lost: why, who is hurt, and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import facts
from ..formatting import number
from ..texts import _, listed, plural
from .item import Item


if TYPE_CHECKING:
    from collections.abc import Iterator

    from flask_msm.operations.losses import Lost
    from flask_msm.operations.snapshot import Snapshot


#: A node that was restarted or flushed so long ago may be the cause, seconds.
RECENT = 1800.0


def lost_sessions(snapshot: Snapshot) -> Iterator[Item]:
    """Say why so many sessions were lost, the cause that hurts most first."""
    lost = snapshot.lost
    if lost is None:
        return
    if lost.too_many:
        causes = [
            (lost.key_unknown, _key_unknown),
            (lost.not_found, _not_found),
            (lost.not_known, _not_known),
        ]
        causes.sort(key=lambda one: -one[0])
        for place, (count, cause) in enumerate(causes):
            # A few beside many are in the number, and no cause of their own.
            if place == 0 or count >= lost.limit:
                yield cause(snapshot, lost)
    if lost.refused >= lost.limit:
        yield Item(
            level="info",
            code="refused",
            title=plural(
                lost.refused,
                "{n} cookie was not signed here",
                "{n} cookies were not signed here",
            ),
            text=_("No node has their sessions: old, damaged or forged ones, nothing is lost"),
            href="events/",
            link=_("Events"),
            hurt=_("No user: any stranger can send such cookies."),
            steps=(_("Nothing, unless SECRET_KEY was changed."),),
        )


def emptied(snapshot: Snapshot) -> list[str]:
    """Return the ids of nodes that were restarted or flushed lately.

    Those that workers saw losing their memory; without any, those that were started lately.
    """
    forgot = {
        event.node
        for event in snapshot.events
        if event.kind == "node_lost_memory" and snapshot.at - event.at < RECENT
    }
    if forgot:
        return [node.id for node in snapshot.nodes if node.id in forgot]
    return [
        node.id
        for node in snapshot.nodes
        if node.stats is not None and node.stats.uptime is not None and node.stats.uptime < RECENT
    ]


def _key_unknown(_snapshot: Snapshot, lost: Lost) -> Item:
    return Item(
        level="bad",
        code="lost_key_unknown",
        title=_("The workers do not know the key of these cookies"),
        text=_("SECRET_KEY was changed, the former one was not kept"),
        since=lost.since,
        href="sessions/",
        link=_("Look one up"),
        hurt=plural(
            lost.key_unknown,
            "{n} user who signed in before the change was signed out in 15 minutes. Others are with"
            " their next click.",
            "{n} users who signed in before the change were signed out in 15 minutes. Others are"
            " with their next click.",
        ),
        steps=(
            _("Put the former key into SECRET_KEY_FALLBACKS."),
            _(
                "Deploy all workers. Users who did not come yet stay signed in; the others sign in"
                " once more."
            ),
            _("Do not flush the nodes: all sessions are still there."),
        ),
    )


def _not_found(snapshot: Snapshot, lost: Lost) -> Item:
    empty = emptied(snapshot)
    full = [node.id for node in snapshot.nodes if facts.is_evicting(node)]
    steps: tuple[str, ...]
    if empty:
        names = listed(empty)
        text = plural(
            len(empty),
            "{names} was restarted or flushed, and is empty",
            "{names} were restarted or flushed, and are empty",
            names=names,
        )
        steps = (
            _("Nothing brings these sessions back: their users sign in once more."),
            _("Find out what restarted or flushed {names}.", names=names),
            _("Restart one node at a time: the next one when flask msm check exits with 0."),
        )
    elif full:
        text = _("{names} threw sessions out for want of memory", names=listed(full))
        steps = (
            _("Give {names} more memory (-m), or add a node.", names=listed(full)),
            _("Nothing brings these sessions back: their users sign in once more."),
        )
    else:
        text = _("No node was restarted lately, and none throws sessions out")
        steps = (
            _("Compare MSM_KEY_PREFIX, the name of the application, and MSM_NODES with before."),
            _("Find out who else deletes from these nodes."),
        )
    return Item(
        level="bad",
        code="lost_not_found",
        title=plural(lost.not_found, "{n} session is on no node", "{n} sessions are on no node"),
        text=text,
        since=lost.since,
        href="nodes/",
        link=_("Nodes"),
        hurt=plural(
            lost.not_found,
            "{n} user was signed out in 15 minutes: no node and no host has the session.",
            "{n} users were signed out in 15 minutes: no node and no host has their sessions.",
        ),
        steps=steps,
    )


def _not_known(snapshot: Snapshot, lost: Lost) -> Item:
    gone = [node.id for node in facts.down(snapshot)]
    filled = [node.id for node in snapshot.nodes if node.phase == "filling"]
    steps: tuple[str, ...] = (
        _("Start the nodes again: nothing else is to be done."),
        _("Do not restart the hosts: they keep what was changed meanwhile."),
    )
    if gone:
        text = plural(
            len(gone), "{names} does not answer", "{names} do not answer", names=listed(gone)
        )
    elif filled:
        text = plural(
            len(filled),
            "{names} lacks sessions, and is being filled",
            "{names} lack sessions, and are being filled",
            names=listed(filled),
        )
        steps = (
            _("Wait until they are full: what another node or a host has is found again then."),
            _("Restart no other node and no host until flask msm check exits with 0."),
        )
    else:
        text = _("Their nodes cannot be asked, or hold what cannot be read")
    return Item(
        level="bad",
        code="lost_not_known",
        title=plural(lost.not_known, "{n} session cannot be read", "{n} sessions cannot be read"),
        text=text,
        since=lost.since,
        href="nodes/",
        link=_("Nodes"),
        hurt=plural(
            lost.not_known,
            "{n} user looks signed out on a host that has no copy of the session. It counts as lost"
            " until it is found.",
            "{n} users look signed out on hosts that have no copy of their sessions. They count as"
            " lost until they are found.",
        ),
        steps=steps,
    )


def number_of(lost: Lost) -> str:
    """Return how many sessions were lost, and by which causes, in words."""
    causes = (
        (lost.key_unknown, _("{n} key unknown", n=number(lost.key_unknown))),
        (lost.not_found, _("{n} not found", n=number(lost.not_found))),
        (lost.not_known, _("{n} cannot be read", n=number(lost.not_known))),
    )
    return ", ".join(text for count, text in causes if count)
