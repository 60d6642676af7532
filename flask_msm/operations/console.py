"""The one door for people: shows the fleet and changes it. Implements ``commands.Console``."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from flask_msm.cluster_assembly import UNSCHEDULED
from flask_msm.commands import Outcome
from flask_msm.errors import CommandError, shown
from flask_msm.labels import plain
from flask_msm.settings.settings import OnReconnect, PolicyName

from .audit import audit
from .observer import REFRESH
from .orders import ON_RECONNECT, POLICY, Order
from .report_reader import fleet_view
from .viewing import Viewer


if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from flask_msm.assembly import Parts
    from flask_msm.cluster_assembly import ClusterParts
    from flask_msm.process.clock import Clock
    from flask_msm.settings.settings import Settings

    from .lookup import Lookups
    from .orders import Done
    from .snapshot import SessionFacts, Snapshot


POLICIES: tuple[str, ...] = PolicyName.__args__  # type: ignore[attr-defined]
RECONNECTS: tuple[str, ...] = OnReconnect.__args__  # type: ignore[attr-defined]
_NO_CLUSTER = "MSM_NODES is not set: there is no cluster to look after"
#: Most time in seconds for which somebody who looks waits for nodes.
_MOMENT = 0.25
_LEVELS = ("info", "warning", "error")


class FleetConsole:
    """Implements ``Console`` for one application.

    Args:
        parts: The application's.
        settings: The application's.
        app_name: Name of the application.
        clock: Tells the time.
        lookups: Finds and ends single sessions.
    """

    def __init__(
        self, parts: Parts, settings: Settings, *, app_name: str, clock: Clock, lookups: Lookups
    ) -> None:
        self._parts = parts
        self._settings = settings
        self._clock = clock
        self._lookups = lookups
        self._viewer = Viewer(parts, settings, app_name=app_name, clock=clock)

    def view(self) -> Snapshot:
        """Return the fleet as it is known here. Never blocks on I/O, never raises."""
        cluster = self._parts.cluster
        if cluster is None:
            return self._viewer.without_cluster()
        seen, now = cluster.observer.seen(), self._clock.time()
        picture = fleet_view(
            seen,
            now=now,
            interval=self._settings.probe_interval or UNSCHEDULED,
            node_ids=cluster.nodes,
            choice=cluster.control.choice,
            configured=cluster.commander.configured,
            conditions=cluster.conditions.lasting(),
            me=cluster.heartbeat.worker,
            # Longer than usual for who looks first after a while.
            delay=max(REFRESH, now - seen.at),
        )
        return self._viewer.snapshot(picture, cluster)

    def look(self) -> Snapshot:
        """Return the fleet as the nodes know it; never raises, takes a moment at most."""
        if (cluster := self._parts.cluster) is not None:
            cluster.sharing.look(within=_MOMENT)
            cluster.learner.learn()
        return self.view()

    def note(
        self, kind: str, text: str, *, actor: str, reason: str = "", level: str = "info"
    ) -> Outcome:
        """Write an event and a line of audit; never raises."""
        level = level if level in _LEVELS else "info"
        # All of it may come from whoever was refused.
        kind, text = plain(kind, 60), plain(text, 500)
        actor, reason = plain(actor, 200), plain(reason, 200)
        number = self._parts.events.add(level, kind, text, actor=actor, reason=reason)
        because = f" ({reason})" if reason else ""
        audit.info("%s: %s, by %s%s", kind, text, actor, because)
        return Outcome(text=text, event=self._event_id(number))

    # -- what can be chosen --------------------------------------------------------------------

    def set_policy(
        self, value: str | None, *, actor: str, reason: str, based_on: str | None
    ) -> Outcome:
        """Choose the serialization policy; ``None`` goes back to the configuration."""
        order = Order(actor, reason, based_on)
        return self._do(lambda c: c.commander.choose(POLICY, value, POLICIES, order))

    def set_on_reconnect(
        self, value: str | None, *, actor: str, reason: str, based_on: str | None
    ) -> Outcome:
        """Choose what happens to local changes when the cluster returns."""
        order = Order(actor, reason, based_on)
        return self._do(lambda c: c.commander.choose(ON_RECONNECT, value, RECONNECTS, order))

    def stop(self, *, actor: str, reason: str, based_on: str | None) -> Outcome:
        """Stop distribution for the fleet, at once."""
        order = Order(actor, reason, based_on)
        return self._do(lambda c: c.commander.distribute(order, stop=True))

    def resume(self, *, actor: str, reason: str, based_on: str | None) -> Outcome:
        """Let distribution go on."""
        order = Order(actor, reason, based_on)
        return self._do(lambda c: c.commander.distribute(order, stop=False))

    # -- nodes and workers ---------------------------------------------------------------------

    def drain(self, node: str, *, actor: str, reason: str, based_on: str | None) -> Outcome:
        """Take a node out of use; refused for the last one in use."""
        order = Order(actor, reason, based_on)
        return self._do(lambda c: c.commander.drain(node, order, back=False))

    def undrain(self, node: str, *, actor: str, reason: str, based_on: str | None) -> Outcome:
        """Take a node into use again."""
        order = Order(actor, reason, based_on)
        return self._do(lambda c: c.commander.drain(node, order, back=True))

    def probe(self, node: str, *, actor: str, reason: str, based_on: str | None) -> Outcome:
        """Ask a node from this worker whether it answers."""
        del based_on
        self._known(node)

        def ask(cluster: ClusterParts) -> Done:
            began = time.monotonic()
            trouble = cluster.prober.probe(node)
            took = (time.monotonic() - began) * 1000
            text = f"{node} answered in {took:.1f} ms" if trouble is None else f"{node}: {trouble}"
            return cluster.commander.note("probed", text, Order(actor, reason), node=node)

        return self._do(ask)

    def reset_circuit(self, node: str, *, actor: str, reason: str, based_on: str | None) -> Outcome:
        """Forget the failures of a node in this worker and probe it at once."""
        self._known(node)

        def reset(cluster: ClusterParts) -> Done:
            done = cluster.commander.reset_circuit(node, Order(actor, reason, based_on))
            cluster.prober.probe(node)
            return done

        return self._do(reset)

    def forget_worker(
        self, worker: str, *, actor: str, reason: str, based_on: str | None
    ) -> Outcome:
        """Show a worker that is gone no longer; refused for one that lives."""
        # Its report may tell more than the nodes do, which the commander asks.
        if worker in {one.id for one in self.view().workers if not one.gone}:
            raise CommandError(f"worker {shown(worker)} lives; only one that is gone is forgotten")
        order = Order(actor, reason, based_on)
        return self._do(lambda c: c.commander.forget_worker(worker, order))

    # -- the blacklist -------------------------------------------------------------------------

    def clear_blacklist(
        self,
        attributes: Sequence[str] | None,
        *,
        actor: str,
        reason: str,
        based_on: str | None,
    ) -> Outcome:
        """Forget what was seen so far of exactly these attributes; ``None`` for all there are."""
        order = Order(actor, reason, based_on)
        return self._do(lambda c: c.commander.clear(attributes, order))

    def pin(self, attribute: str, *, actor: str, reason: str, based_on: str | None) -> Outcome:
        """Store ``None`` for an attribute from now on, without trying."""
        order = Order(actor, reason, based_on)
        return self._do(lambda c: c.commander.pin(attribute, order, pinned=True))

    def unpin(self, attribute: str, *, actor: str, reason: str, based_on: str | None) -> Outcome:
        """Try the attribute again; refused for what ``MSM_BLACKLIST`` pins."""
        if attribute in self._settings.blacklist:
            raise CommandError(f"MSM_BLACKLIST pins {shown(attribute)}; it is unpinned there")
        order = Order(actor, reason, based_on)
        return self._do(lambda c: c.commander.pin(attribute, order, pinned=False))

    # -- single sessions -----------------------------------------------------------------------

    def lookup(self, ref_or_cookie: str, *, actor: str, reason: str) -> SessionFacts | None:
        """Return what is known of a session; ``None`` when it certainly does not exist."""
        facts = self._lookups.find(ref_or_cookie)
        ref = facts.ref if facts else "that does not exist"
        self.note("looked_up", f"session {ref} was looked up", actor=actor, reason=reason)
        return facts

    def revoke(self, handle: str, *, actor: str, reason: str, based_on: str | None) -> Outcome:
        """End a session everywhere."""
        del based_on
        ref = self._lookups.end(handle)
        return self.note("revoked", f"session {ref} was ended", actor=actor, reason=reason)

    def _known(self, node: str) -> None:
        cluster = self._parts.cluster
        if cluster is None:
            raise CommandError(_NO_CLUSTER)
        if node not in cluster.nodes:
            known = ", ".join(cluster.nodes)
            raise CommandError(f"there is no node {shown(node)}; there are {known}")

    def _do(self, act: Callable[[ClusterParts], Done]) -> Outcome:
        cluster = self._parts.cluster
        if cluster is None:
            raise CommandError(_NO_CLUSTER)
        done = act(cluster)
        return Outcome(
            text=done.text,
            event=self._event_id(done.event),
            stamp=str(done.stamp) if done.stamp else None,
            nodes=done.nodes,
        )

    def _event_id(self, number: int) -> str:
        cluster = self._parts.cluster
        return self._viewer.event_id(cluster.heartbeat.worker if cluster else "", number)
