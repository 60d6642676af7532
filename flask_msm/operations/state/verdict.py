"""Is it fine, and if not, what: one sentence for the whole fleet, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import facts
from .attention import mistakes
from .formatting import number
from .texts import _, listed, plural


if TYPE_CHECKING:
    from flask_msm.operations.snapshot import Node, Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What sessions do.

    Attributes:
        level: ``ok``, ``warn``, ``bad`` or ``off`` (an operator chose it).
        code: Short name of the rule that held.
        title: What sessions do.
        text: What that means for users.
        since: Since when, seconds since the epoch.
    """

    level: str
    code: str
    title: str
    text: str
    since: float | None


def verdict(snapshot: Snapshot) -> Verdict:
    """Return the first of these that holds, the gravest first."""
    for rule in (
        _stopped,
        _without_nodes,
        _no_answer,
        _losing,
        _mistaken,
        _degraded,
        _unreached,
        _recovering,
        _drained,
        _strained,
    ):
        found = rule(snapshot)
        if found is not None:
            return found
    return _fine(snapshot)


def _stopped(snapshot: Snapshot) -> Verdict | None:
    choice = snapshot.distribution
    if choice.value != "stopped" and snapshot.mode != "stopped":
        return None
    gone = facts.down(snapshot)
    nodes = (
        _("The nodes are healthy.")
        if snapshot.nodes and not gone
        else _("{names} would not answer anyway.", names=listed([node.id for node in gone]))
        if gone
        else ""
    )
    by_rule = choice.set_by in {None, "policy"}
    title = (
        _("Distribution is stopped: an attribute could not be serialized")
        if by_rule and choice.value == "stopped"
        else _("Distribution is stopped by an operator")
    )
    text = _("Each worker keeps sessions {where}, on purpose.", where=facts.kept_where(snapshot))
    since = choice.set_at if choice.set_at is not None else snapshot.since
    return Verdict(
        level="off", code="stopped", title=title, text=f"{text} {nodes}".strip(), since=since
    )


def _without_nodes(snapshot: Snapshot) -> Verdict | None:
    if snapshot.nodes:
        return None
    return Verdict(
        level="off",
        code="no_nodes",
        title=_("Sessions stay on this host: no node is configured"),
        text=_("MSM_NODES is not set. Workers of other hosts do not see these sessions."),
        since=snapshot.since,
    )


def _no_answer(snapshot: Snapshot) -> Verdict | None:
    counts = facts.modes(snapshot)
    if facts.answering(snapshot) or any(facts.is_rebuilding(node) for node in snapshot.nodes):
        return None
    if all(node.state is None for node in snapshot.nodes):
        return Verdict(
            level="ok",
            code="not_seen",
            title=_("Ready. No node was asked yet"),
            text=_("Nodes are asked from now on. Numbers appear in a few seconds."),
            since=snapshot.since,
        )
    if not counts["local"] and not facts.down(snapshot):
        return None
    return Verdict(
        level="bad",
        code="no_answer",
        title=_("No memcached node answers: sessions are kept on hosts"),
        text=_(
            "No store keeps sessions: local storage fails as well, and what is changed now is lost."
        )
        if snapshot.local is not None and snapshot.local.error
        else _(
            "Every worker keeps sessions {where}. The site works, but users may look signed out"
            " when {other} answers them.",
            where=facts.kept_where(snapshot),
            other=_("another worker")
            if snapshot.local is not None and snapshot.local.kind == "simple"
            else _("another host"),
        ),
        since=snapshot.since or _first(facts.down(snapshot)),
    )


def _losing(snapshot: Snapshot) -> Verdict | None:
    lost = snapshot.lost
    if lost is None or not lost.too_many:
        return None
    if lost.key_unknown >= max(lost.not_found, lost.not_known):
        text = _("The nodes hold these sessions. The workers refuse the cookies.")
    elif lost.not_found >= lost.not_known:
        text = _("Users are signed out: no node and no host has their sessions.")
    else:
        text = _("Users look signed out: the nodes of their sessions cannot be asked.")
    return Verdict(
        level="bad",
        code="sessions_lost",
        title=_("Sessions are being lost: {n} in 15 minutes", n=number(lost.lost)),
        text=text,
        since=lost.since,
    )


def _mistaken(snapshot: Snapshot) -> Verdict | None:
    for item in mistakes(snapshot):
        return Verdict(
            level="bad", code=item.code, title=item.title, text=item.hurt, since=item.since
        )
    return None


def _degraded(snapshot: Snapshot) -> Verdict | None:
    gone, counts = facts.down(snapshot), facts.modes(snapshot)
    local, workers = counts["local"], sum(counts.values())
    if not gone and not local:
        return None
    names = listed([node.id for node in gone])
    if gone:
        title = plural(len(gone), "{names} is down", "{names} are down", names=names)
        if local:
            more = _("{k} of {n} workers reach no node", k=local, n=workers)
            title = _("{down}, and {more}", down=title, more=more)
        elif snapshot.lost is not None and not snapshot.lost.lost:
            title += _(". No user was signed out")
    else:
        title = _("{k} of {n} workers reach no node", k=local, n=workers)
    texts = [facts.other_copies(snapshot, gone)] if gone else []
    if local:
        texts.append(
            plural(
                local,
                "{n} worker keeps its sessions {where} until it reaches a node.",
                "{n} workers keep their sessions {where} until they reach a node.",
                where=facts.kept_where(snapshot),
            )
        )
    if snapshot.traffic and snapshot.traffic.failed and len(texts) < 2:
        texts.append(
            plural(
                snapshot.traffic.failed,
                "{n} operation failed in the last 15 minutes.",
                "{n} operations failed in the last 15 minutes.",
            )
        )
    return Verdict(
        level="warn",
        code="nodes_down" if gone else "workers_local",
        title=title,
        text=" ".join(texts),
        since=_first(gone)
        or min(
            (w.mode_since for w in facts.living(snapshot) if w.mode == "local" and w.mode_since),
            default=snapshot.since,
        ),
    )


def _unreached(snapshot: Snapshot) -> Verdict | None:
    nodes = [node for node in snapshot.nodes if node.phase == "unreached"]
    if not nodes:
        return None
    return Verdict(
        level="warn",
        code="unreached",
        title=_("Some workers do not reach {names}", names=_names(nodes)),
        text=_("Every session is served. These workers use the other nodes."),
        since=min((n.phase_since for n in nodes if n.phase_since is not None), default=None),
    )


def _recovering(snapshot: Snapshot) -> Verdict | None:
    behind = [node for node in snapshot.nodes if facts.is_rebuilding(node)]
    if not behind:
        return None
    names = listed([node.id for node in behind])
    return Verdict(
        level="warn",
        code="rebuilding",
        title=plural(
            len(behind),
            "{names} is being filled",
            "{names} are being filled",
            names=names,
        ),
        text=_(
            "Every session is served. Until this is done some have one copy less, so do not"
            " restart another node now."
        ),
        since=_first(behind),
    )


def _drained(snapshot: Snapshot) -> Verdict | None:
    out = [node for node in snapshot.nodes if node.drain or node.state in {"draining", "drained"}]
    if not out:
        return None
    total = len(snapshot.nodes)
    return Verdict(
        level="off",
        code="drained",
        title=_("Sessions run on {k} of {n} nodes, on purpose", k=total - len(out), n=total),
        text=_("{names} was taken out of use by an operator.", names=listed([n.id for n in out]))
        if len(out) == 1
        else _("{names} were taken out of use by an operator.", names=listed([n.id for n in out])),
        since=_first(out),
    )


def _strained(snapshot: Snapshot) -> Verdict | None:
    evicting = [node for node in snapshot.nodes if facts.is_evicting(node)]
    slow = [node for node in snapshot.nodes if facts.is_slow(node)]
    if evicting:
        return Verdict(
            level="warn",
            code="evicting",
            title=plural(
                len(evicting),
                "Sessions are lost early: {names} has no room",
                "Sessions are lost early: {names} have no room",
                names=_names(evicting),
            ),
            text=_(
                "An eviction is a copy of a session thrown out; the last copy signs a user out."
            ),
            since=None,
        )
    if slow:
        return Verdict(
            level="warn",
            code="slow",
            title=plural(
                len(slow),
                "Sessions are slow: {names} takes long to answer",
                "Sessions are slow: {names} take long to answer",
                names=_names(slow),
            ),
            text=_("Every session is served, requests wait for it."),
            since=None,
        )
    return None


def _fine(snapshot: Snapshot) -> Verdict:
    total, up = len(snapshot.nodes), len(facts.answering(snapshot))
    workers = len(facts.living(snapshot))
    nodes = (
        plural(total, "The node answers.", "All {n} nodes answer.")
        if up == total
        else _("{k} of {n} nodes answer.", k=up, n=total)
    )
    if facts.is_new(snapshot):
        return Verdict(
            level="ok",
            code="new",
            title=_("Ready. No sessions yet"),
            text=_("{nodes} Numbers appear after the first session is saved.", nodes=nodes),
            since=snapshot.since,
        )
    unseen = total - up
    title = _("All sessions are safe")
    copies = facts.counted(snapshot) if snapshot.replicas > 1 else None
    if copies is not None and copies.sessions and not copies.one_copy:
        text = plural(
            copies.sessions,
            "{about}{n} session has {copies} copies. Any one of the {nodes} nodes may fail, and no"
            " user is signed out.",
            "Each of {about}{n} sessions has {copies} copies. Any one of the {nodes} nodes may"
            " fail, and no user is signed out.",
            about=_("about ") if copies.about else "",
            copies=snapshot.replicas,
            nodes=total,
        )
    elif workers > 1:
        text = (
            _("{k} of {n} nodes answer and all {w} workers agree.", k=up, n=total, w=workers)
            if snapshot.observer.complete
            else _("{k} of {n} nodes answer all workers that can be seen.", k=up, n=total)
        )
    elif (snapshot.observer.workers_known or 0) > 1:
        text = _("{k} of {n} nodes answer. What the others say is being gathered.", k=up, n=total)
    else:
        text = _(
            "{k} of {n} nodes answer. Only this worker reports; others appear here when they"
            " handle their first request.",
            k=up,
            n=total,
        )
    if unseen:
        text += " " + plural(unseen, "{n} was not seen yet.", "{n} were not seen yet.")
    # Since the last node was whole again: the mode did not change when another one was down.
    begun = [at for at in (snapshot.since, *[n.phase_since for n in snapshot.nodes]) if at]
    since = max(begun, default=None)
    return Verdict(level="ok", code="fine", title=title, text=text, since=since)


def _names(nodes: list[Node]) -> str:
    return listed([node.id for node in nodes])


def _first(nodes: list[Node]) -> float | None:
    return min((node.since for node in nodes if node.since is not None), default=None)
