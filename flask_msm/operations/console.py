"""The one door for people: shows the fleet and changes it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flask_msm.cluster.control import ON_RECONNECT, POLICY
from flask_msm.errors import CommandError, one_line, quoted
from flask_msm.settings.settings import OnReconnect, PolicyName

from .audit import audit
from .cluster_operations import ClusterOperations
from .observer import REFRESH
from .orders import Order
from .report_reader import fleet_view
from .viewing import SnapshotBuilder


if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from flask_msm.application import Application
    from flask_msm.process.clock import Clock
    from flask_msm.settings.settings import Settings

    from .lookup import SessionLookup
    from .orders import Done
    from .snapshot import SessionFacts, Snapshot


POLICIES: tuple[str, ...] = PolicyName.__args__  # type: ignore[attr-defined]
RECONNECTS: tuple[str, ...] = OnReconnect.__args__  # type: ignore[attr-defined]
_NO_CLUSTER = "MSM_NODES is not set: there is no cluster to look after"
#: Most time in seconds for which somebody who looks waits for nodes.
_MOMENT = 0.25
_LEVELS = ("info", "warning", "error")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a command.

    Attributes:
        text: In one sentence, for example ``policy: raise -> blacklist``.
        event: Id of the event that was written down, one of ``Snapshot.events`` from now on.
        stamp: Stamp of the change, if something was changed for the fleet.
        nodes: Ids of the nodes that know it; with none, only workers of this host hear of it now.
    """

    text: str
    event: str | None = None
    stamp: str | None = None
    nodes: tuple[str, ...] = ()


class Console:
    """Shows the fleet and changes it.

    Every command takes:

    * *actor*: name of the operator, kept and shown with the change; never empty;
    * *reason*: why, in their words; may be empty;
    * *based_on*: the stamp the operator saw (``Choice.stamp``, ``Node.stamp``), ``None`` for an
      unconditional change. It is compared with what the nodes hold, which are asked first.
      Commands whose target has no stamp do not look at it.

    and, unless it says otherwise, raises

    * ``ConflictError`` when somebody changed it in the meantime: nothing was changed again;
    * ``CommandError`` when it cannot be done, with the reason in words for the operator.

    A command may do I/O and takes a few seconds at most. It writes an event and a line of the
    ``flask_msm.audit`` log itself, also when nothing had to be changed.

    Args:
        application: What is looked after.
        settings: The application's.
        app_name: Name of the application.
        clock: Tells the time.
        lookups: Finds and ends single sessions.
    """

    def __init__(
        self,
        application: Application,
        settings: Settings,
        *,
        app_name: str,
        clock: Clock,
        lookups: SessionLookup,
    ) -> None:
        self.application = application
        self.settings = settings
        self._clock = clock
        self._lookups = lookups
        self._viewer = SnapshotBuilder(application, settings, app_name=app_name, clock=clock)
        #: What there is only with nodes.
        self.operations = (
            ClusterOperations(application, application.cluster, settings, clock)
            if application.cluster
            else None
        )

    def view(self) -> Snapshot:
        """Return the fleet as it is known here. Never blocks on I/O, never raises."""
        operations = self.operations
        if operations is None:
            return self._viewer.without_cluster()
        cluster = operations.cluster
        seen, now = operations.observer.seen(), self._clock.time()
        picture = fleet_view(
            seen,
            now=now,
            interval=cluster.interval,
            node_ids=cluster.nodes,
            choice=cluster.control.choice,
            configured=cluster.configured,
            conditions=cluster.conditions.lasting(),
            me=cluster.heartbeat.worker,
            # Longer than usual for who looks first after a while.
            delay=max(REFRESH, now - seen.at),
        )
        return self._viewer.snapshot(picture, cluster)

    def look(self) -> Snapshot:
        """Return the fleet after the nodes were asked what operators have changed.

        For somebody who is about to change it: *based_on* is the newest then, also if another
        worker made the last change a moment ago. Takes a quarter of a second at most, whatever
        hangs, and is ``view()`` if no node answers. Never raises.
        """
        if (cluster := self.application.cluster) is not None:
            cluster.sharing.look(within=_MOMENT)
            cluster.learner.learn()
        return self.view()

    def note(
        self, kind: str, text: str, *, actor: str, reason: str = "", level: str = "info"
    ) -> Outcome:
        """Write an event and a line of audit, for example of a refused attempt; never raises.

        Args:
            kind: Short name, for example ``action_denied``.
            text: One sentence without contents of sessions.
            actor: The operator, or ``-`` when nobody is known.
            reason: Why.
            level: ``info``, ``warning`` or ``error``.
        """
        level = level if level in _LEVELS else "info"
        # All of it may come from whoever was refused.
        kind, text = one_line(kind, 60), one_line(text, 500)
        actor, reason = one_line(actor, 200), one_line(reason, 200)
        number = self.application.events.add(level, kind, text, actor=actor, reason=reason)
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
        """Choose what happens to local changes when the cluster returns; ``None`` as above."""
        order = Order(actor, reason, based_on)
        return self._do(lambda c: c.commander.choose(ON_RECONNECT, value, RECONNECTS, order))

    def stop(self, *, actor: str, reason: str, based_on: str | None) -> Outcome:
        """Stop distribution for the fleet, at once; *based_on*: ``Snapshot.distribution``."""
        order = Order(actor, reason, based_on)
        return self._do(lambda c: c.commander.distribute(order, stop=True))

    def resume(self, *, actor: str, reason: str, based_on: str | None) -> Outcome:
        """Let distribution go on; *based_on*: ``Snapshot.distribution``."""
        order = Order(actor, reason, based_on)
        return self._do(lambda c: c.commander.distribute(order, stop=False))

    # -- nodes and workers ---------------------------------------------------------------------

    def drain(self, node: str, *, actor: str, reason: str, based_on: str | None) -> Outcome:
        """Take a node out of use; refused for the last one in use."""
        order = Order(actor, reason, based_on)
        return self._do(lambda c: c.commander.drain(node, order, back=False))

    def undrain(self, node: str, *, actor: str, reason: str, based_on: str | None) -> Outcome:
        """Take a node into use again; it is rebuilt before it is trusted."""
        order = Order(actor, reason, based_on)
        return self._do(lambda c: c.commander.drain(node, order, back=True))

    def probe(self, node: str, *, actor: str, reason: str, based_on: str | None) -> Outcome:
        """Ask a node from this worker whether it answers; the outcome says so, with the time."""
        del based_on
        self._known(node)

        def ask(operations: ClusterOperations) -> Done:
            began = time.monotonic()
            trouble = operations.cluster.prober.probe(node)
            took = (time.monotonic() - began) * 1000
            text = f"{node} answered in {took:.1f} ms" if trouble is None else f"{node}: {trouble}"
            return operations.commander.note("probed", text, Order(actor, reason), node=node)

        return self._do(ask)

    def reset_circuit(self, node: str, *, actor: str, reason: str, based_on: str | None) -> Outcome:
        """Forget the failures of a node in this worker and probe it at once."""
        self._known(node)

        def reset(operations: ClusterOperations) -> Done:
            done = operations.commander.reset_circuit(node, Order(actor, reason, based_on))
            operations.cluster.prober.probe(node)
            return done

        return self._do(reset)

    def forget_worker(
        self, worker: str, *, actor: str, reason: str, based_on: str | None
    ) -> Outcome:
        """Show a worker that is gone no longer; refused for one that lives."""
        # Its report may tell more than the nodes do, which the commander asks.
        if worker in {one.id for one in self.view().workers if not one.gone}:
            raise CommandError(f"worker {quoted(worker)} lives; only one that is gone is forgotten")
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
        if attribute in self.settings.blacklist:
            raise CommandError(f"MSM_BLACKLIST pins {quoted(attribute)}; it is unpinned there")
        order = Order(actor, reason, based_on)
        return self._do(lambda c: c.commander.pin(attribute, order, pinned=False))

    # -- single sessions -----------------------------------------------------------------------

    def lookup(self, ref_or_cookie: str, *, actor: str, reason: str) -> SessionFacts | None:
        """Return what is known of a session; ``None`` when it certainly does not exist.

        Args:
            ref_or_cookie: Its ref (ten hexadecimal digits) or the value of its cookie. It is kept
                nowhere, the event names the ref only.
            actor: The operator.
            reason: Why.

        Raises:
            CommandError: It is neither, or nobody can tell now.
        """
        facts = self._lookups.find(ref_or_cookie)
        ref = facts.ref if facts else "that does not exist"
        self.note("looked_up", f"session {ref} was looked up", actor=actor, reason=reason)
        return facts

    def revoke(self, handle: str, *, actor: str, reason: str, based_on: str | None) -> Outcome:
        """End a session everywhere; *handle*: ``SessionFacts.handle``, *based_on* is not used.

        Raises:
            CommandError: Nobody can tell now, or there is no such session.
        """
        del based_on
        ref = self._lookups.end(handle)
        return self.note("revoked", f"session {ref} was ended", actor=actor, reason=reason)

    def _known(self, node: str) -> None:
        cluster = self.application.cluster
        if cluster is None:
            raise CommandError(_NO_CLUSTER)
        if node not in cluster.nodes:
            known = ", ".join(cluster.nodes)
            raise CommandError(f"there is no node {quoted(node)}; there are {known}")

    def _do(self, act: Callable[[ClusterOperations], Done]) -> Outcome:
        if self.operations is None:
            raise CommandError(_NO_CLUSTER)
        done = act(self.operations)
        return Outcome(
            text=done.text,
            event=self._event_id(done.event),
            stamp=str(done.stamp) if done.stamp else None,
            nodes=done.nodes,
        )

    def _event_id(self, number: int) -> str:
        cluster = self.application.cluster
        return self._viewer.event_id(cluster.heartbeat.worker if cluster else "", number)
