"""The pages. Each reads one snapshot, and changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from flask import Response, request

from flask_msm.operations.state import facts
from flask_msm.operations.state.attention.nodes import share_of
from flask_msm.operations.state.formatting import cut
from flask_msm.operations.state.numbers import latencies, numbers, traffic_text
from flask_msm.operations.state.texts import _, listed

from .base import MsmView
from .policies import POLICIES, RECONNECTS, consequence, policy_name, reconnect_consequence, summary
from .presenters.events import event_page, event_row
from .presenters.history import RANGES, history_page
from .presenters.nodes import causes_of, failures_text, node_row
from .presenters.overview import foremost, places, sure_of
from .presenters.workers import (
    agreements,
    by_host,
    filtered,
    hosts_of,
    kept_text,
    mode_name,
    reporting,
    worker_rows,
    workers_note,
)
from .responses import exposed


if TYPE_CHECKING:
    from flask_msm.operations.history import RangeName
    from flask_msm.operations.snapshot import Event

    from .context import PageContext
    from .presenters.events import EventRow
    from .presenters.nodes import NodeRow


#: Kinds of what operators tried and did not get.
_REFUSED = frozenset({"action_denied", "action_failed"})
#: Most rows of a list on the overview.
_SHORT = 5
#: The first numbers are what people feel; the others are in the state document.
_NUMBERS = 4
#: Most workers on their page.
_MOST_WORKERS = 200
#: Most chips on the overview.
_CHIPS = 60


class OverviewView(MsmView):
    """Is it fine, and if not, what."""

    @exposed("/sign-out")
    def sign_out(self) -> Response:
        """Have the browser forget the password; nothing else is kept of who signed in."""
        challenge = self.context.access.challenge
        if challenge is None:
            return self.refusal(404, _("There is no such page."))
        response = self.refusal(401, _("You are signed out. To sign in again, open the overview."))
        response.headers["WWW-Authenticate"] = challenge
        return response

    @exposed("/")
    def index(self) -> Response:
        """Show the overview."""
        page = self.context.page()
        snapshot = page.snapshot
        return self.show(
            "overview",
            page.verdict.title,
            page=page,
            sections={
                "banner": {"applied": applied_event(page)},
                "verdict": {"sure": sure_of(snapshot)},
                "numbers": {"numbers": numbers(snapshot)[:_NUMBERS]},
                **self._recent(page),
                "where": {"places": places(snapshot)},
                "recent": {"rows": [event_row(event) for event in snapshot.events[:_SHORT]]},
                "policy": {"policy_name": policy_name, "summary": summary},
                "chips": chips_context(page),
                "attributes": {"entries": snapshot.blacklist[:_SHORT]},
                "footer": {},
            },
        )

    def _recent(self, page: PageContext) -> dict[str, dict[str, object]]:
        """Return what needs the last hours: the nodes over time, and how long sessions took."""
        snapshot, nodes = page.snapshot, foremost(page.snapshot)
        timeout = self.context.options.timeout
        shown = history_page(self.context.recent(snapshot), [node.id for node in nodes], timeout)
        more = len(snapshot.nodes) - len(nodes)
        return {
            "timeline": {"shown": shown, "rows": rows_of(page), "more": more},
            "speed": {
                "shown": shown,
                "ranges": list(RANGES.items()),
                "traffic": traffic_text(snapshot),
            },
        }


class HistoryView(MsmView):
    """What happened in the last minutes, hours or days, on one axis."""

    @exposed("/")
    def index(self) -> Response:
        """Show the range the query asks for."""
        chosen = request.args.get("range", "24h")
        if chosen not in RANGES:
            known = listed(list(RANGES))
            text = _("There is no such range; there are {known}.", known=known)
            return self.refusal(400, text, back="history/")
        page = self.context.page()
        history = self.context.history(cast("RangeName", chosen))
        nodes = page.snapshot.nodes
        found = history_page(history, [node.id for node in nodes], self.context.options.timeout)
        # It does not keep itself up to date: each look asks nodes for what they keep.
        return self.show(
            "history",
            _("History"),
            page=page,
            sections={
                "outages": {"shown": found},
                "lanes": {"shown": found, "rows": rows_of(page)},
                "changes": {"shown": found},
                "footer": {},
            },
            live=False,
            shown=found,
            ranges=list(RANGES.items()),
            range=chosen,
        )


class NodesView(MsmView):
    """All nodes, and a page for each."""

    @exposed("/")
    def index(self) -> Response:
        """Show all nodes."""
        page = self.context.page()
        return self.show(
            "sections",
            _("Nodes"),
            page=page,
            sections={
                "banner": {"applied": applied_event(page)},
                "nodes": {
                    "rows": list(rows_of(page).values()),
                    "answering": len(facts.answering(page.snapshot)),
                },
                "latency": {"rows": latencies(page.snapshot)},
                "footer": {},
            },
            help=_(
                "Items are everything a memcached holds, also expired items and those of other"
                " applications. An eviction is a copy of a session thrown out for want of memory:"
                " a user may be signed out early. It happens below the limit, too, because memory"
                " is split into classes of size. Loads and saves are what requests waited for,"
                " whichever nodes were asked, with second tries and local storage; their times are"
                " rounded up to the next of 0.25, 0.5, 1, 2, 4 ms and so on."
            ),
        )

    @exposed("/<node_id>")
    def node(self, node_id: str) -> Response:
        """Show one node."""
        page = self.context.page()
        for node in page.snapshot.nodes:
            if node.id == node_id:
                break
        else:
            return self.refusal(404, _("There is no such node."), back="nodes/")
        return self.show(
            "sections",
            _("Node {id}", id=node.id),
            page=page,
            sections={
                "banner": {"applied": applied_event(page)},
                "node": {
                    "row": node_row(node, page.snapshot),
                    "failures": failures_text(node),
                    "causes": causes_of(node, page),
                    "opinions": worker_opinions(node_row(node, page.snapshot)),
                    "share": share_of(node) if facts.is_rebuilding(node) else None,
                },
                "timeline": {
                    "shown": history_page(
                        self.context.recent(page.snapshot), [node.id], self.context.options.timeout
                    ),
                    "rows": rows_of(page),
                    "more": 0,
                },
                "recent": {
                    "rows": [event_row(e) for e in page.snapshot.events if e.node == node.id][
                        :_SHORT
                    ],
                    "query": f"?node={node.id}",
                },
                "footer": {},
            },
        )


class WorkersView(MsmView):
    """All workers."""

    @exposed("/")
    def index(self) -> Response:
        """Show the workers the query asks for."""
        page = self.context.page()
        snapshot = page.snapshot
        mode, host = request.args.get("mode", ""), request.args.get("host", "")
        workers = filtered(snapshot, mode, host)
        rows = worker_rows(snapshot, workers[:_MOST_WORKERS])
        return self.show(
            "workers",
            _("Workers"),
            page=page,
            sections={
                "banner": {"applied": applied_event(page)},
                "workers": {
                    "hosts": by_host(rows),
                    "more": len(workers) - len(rows),
                    "agreements": agreements(snapshot),
                    "reporting": reporting(snapshot),
                    "kept": kept_text,
                    "filtered": bool(mode or host),
                },
                "footer": {},
            },
            mode=mode,
            host=host,
            modes=[(mode, mode_name(mode)) for mode in facts.MODES],
            hosts=hosts_of(snapshot),
        )


class BlacklistView(MsmView):
    """Attributes that could not be stored."""

    @exposed("/")
    def index(self) -> Response:
        """Show the blacklist."""
        page = self.context.page()
        return self.show(
            "blacklist",
            _("Blacklist"),
            page=page,
            sections={
                "banner": {"applied": applied_event(page)},
                "blacklist": {"entries": page.snapshot.blacklist[:200]},
                "footer": {},
            },
        )


class EventsView(MsmView):
    """What happened."""

    @exposed("/")
    def index(self) -> Response:
        """Show the events the query asks for."""
        page = self.context.page()
        found = event_page(page.snapshot, request.args)
        return self.show(
            "events",
            _("Events"),
            page=page,
            sections={
                "banner": {"applied": applied_event(page)},
                "events": {"listing": found},
                "footer": {},
            },
            listing=found,
        )


class PolicyView(MsmView):
    """What operators chose for the fleet."""

    @exposed("/")
    def index(self) -> Response:
        """Show the choices and what may be chosen instead."""
        page = self.context.page()
        return self.show(
            "policy",
            _("Policy"),
            page=page,
            sections={
                "banner": {"applied": applied_event(page)},
                "choices": {"policy_name": policy_name, "rows": choice_history(page)},
                "footer": {},
            },
            policies=[(value, policy_name(value), consequence(value)) for value in POLICIES],
            reconnects=[
                (value, policy_name(value), reconnect_consequence(value)) for value in RECONNECTS
            ],
            policy_name=policy_name,
        )


def rows_of(page: PageContext) -> dict[str, NodeRow]:
    """Return how each node is shown, by its id."""
    return {node.id: node_row(node, page.snapshot) for node in page.snapshot.nodes}


def chips_context(page: PageContext) -> dict[str, object]:
    """Return what the chips of the workers need."""
    snapshot = page.snapshot
    workers = facts.living(snapshot)
    # What is odd is not cut away.
    ordered = sorted(workers, key=lambda worker: worker.mode == snapshot.mode and not worker.stale)
    shown = {worker.id for worker in ordered[:_CHIPS]}
    rows = worker_rows(snapshot, [w for w in workers if w.id in shown], opinions=False)
    return {
        "hosts": by_host(rows),
        "more": len(workers) - len(rows),
        "reporting": reporting(snapshot),
        "note": workers_note(snapshot),
    }


def worker_opinions(row: NodeRow) -> list[tuple[str, int, str]]:
    """Return how many workers see the node in which state, and which ones see it differently."""
    states: dict[str, list[str]] = {}
    for opinion in row.node.opinions:
        states.setdefault(opinion.state, []).append(opinion.worker)
    ranked = sorted(states.items(), key=lambda item: -len(item[1]))
    return [(state, len(names), ", ".join(names[:8])) for state, names in ranked]


def choice_history(page: PageContext) -> list[EventRow]:
    """Return the newest changes operators made."""
    kinds = {"policy_changed", "on_reconnect_changed", "distribution_changed", "mode_changed"}
    return [event_row(e) for e in page.snapshot.events if e.kind in kinds and e.actor][:10]


def applied_event(page: PageContext) -> Event | None:
    """Return the event the address names: what the operator has just done."""
    wanted = cut(request.args.get("applied"), 120)
    if not wanted:
        return None
    # What an operator did, and nothing else that a link may name.
    return next(
        (
            event
            for event in page.snapshot.events
            if event.id == wanted and event.actor and event.kind not in _REFUSED
        ),
        None,
    )
