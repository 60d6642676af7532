"""What operators change at run time, for the whole fleet: checked, kept, told, written down.

Every change names who makes it, why, and what they saw when they decided. If somebody else was
faster the change is refused: nobody is to undo what they have not seen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask_msm.cluster.control import (
    CLEAR,
    DISTRIBUTION,
    ON_RECONNECT,
    PIN,
    POLICY,
    RUNNING,
    STOPPED,
)
from flask_msm.errors import CommandError, ConflictError, one_line, quoted, short_name
from flask_msm.sessions.pins import MAX_PINS

from .audit import write_down
from .orders import LONGEST, Change, Done, Order


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from flask_msm.cluster.control import Control
    from flask_msm.cluster.events import Events
    from flask_msm.cluster.nodes import NodeTable
    from flask_msm.cluster.ports import ManagedNode
    from flask_msm.cluster.shared_map import SharedMap
    from flask_msm.cluster.workers import WorkerRegistry
    from flask_msm.maintenance.membership import Membership


_IN_USE = "in use"
#: Most attributes whose clearing is remembered by name; of more, the oldest are forgotten.
MAX_CLEARS = 200


class Commander:
    """Changes what holds for the fleet.

    Args:
        sharing: Brings changes to the nodes and to the host.
        control: Keeps them.
        heartbeat: Knows the workers.
        state: How the nodes are seen.
        nodes: Node clients by id.
        events: Where changes are written down.
        configured: Returns the configured value of a choice.
    """

    def __init__(
        self,
        sharing: Membership,
        *,
        control: Control,
        heartbeat: WorkerRegistry,
        state: NodeTable,
        nodes: Mapping[str, ManagedNode],
        events: Events,
        configured: Callable[[str], str],
    ) -> None:
        self._sharing = sharing
        self._control = control
        self._heartbeat = heartbeat
        self._state = state
        self._nodes = nodes
        self._events = events
        self._configured = configured

    @property
    def configured(self) -> dict[str, str]:
        """What the configuration says of everything that can be chosen."""
        return {name: self._configured(name) for name in (POLICY, ON_RECONNECT, DISTRIBUTION)}

    def value(self, name: str) -> str:
        """Return what holds now: what was chosen, else what is configured."""
        return self._control.choice(name).value or self._configured(name)

    def choose(self, name: str, value: str | None, allowed: tuple[str, ...], order: Order) -> Done:
        """Choose *value* for *name*, one of *allowed*; ``None`` goes back to the configuration.

        Raises:
            CommandError: The value is not allowed.
            ConflictError: It was changed since the operator looked.
        """
        if value is not None and value not in allowed:
            raise CommandError(f"{name} cannot be {quoted(value)}; allowed: {', '.join(allowed)}")
        before = ""

        def act(control: Control) -> int:
            nonlocal before
            before = self.value(name)
            self._check(name, control.choice(name).stamp, order)
            who, why = one_line(order.actor, LONGEST), one_line(order.reason, LONGEST)
            return control.choose(name, value, who=who, why=why)

        after = value if value is not None else f"{self._configured(name)} (configuration)"
        return self._carry_out(
            f"{name}_changed",
            act,
            order,
            lambda: f"{name}: {before} -> {after}",
            change=lambda: Change(before, after),
        )

    def distribute(self, order: Order, *, stop: bool) -> Done:
        """Stop distribution at once for all workers, or let it go on."""
        return self.choose(DISTRIBUTION, STOPPED if stop else RUNNING, (STOPPED, RUNNING), order)

    def drain(self, node_id: str, order: Order, *, back: bool) -> Done:
        """Take a node out of use, or *back* into use.

        Raises:
            CommandError: There is no such node, or no other one that could take over.
        """
        if node_id not in self._nodes:
            known = ", ".join(self._nodes)
            raise CommandError(f"there is no node {quoted(node_id)}; there are {known}")

        before = _IN_USE

        def act(control: Control) -> int:
            nonlocal before
            drains = control.drains()
            before = drains.get(node_id, _IN_USE)
            stamp = control.shared.stamp(f"drain:{node_id}")
            self._check(node_id, stamp, order)
            if drains.get(node_id) == (None if back else "drained"):
                return stamp  # a drained node may be switched off, one in use is trusted
            if not back and not [n for n in self._nodes if n != node_id and n not in drains]:
                text = f"{node_id} is the last node in use; draining it would leave no cluster"
                raise CommandError(text)
            if back:
                control.set_missed(node_id, "was drained")
            who, why = one_line(order.actor, LONGEST), one_line(order.reason, LONGEST)
            control.set_drain(node_id, None if back else "draining", who=who, why=why)
            return control.shared.stamp(f"drain:{node_id}")

        kind, text = ("node_restored", "taken back") if back else ("node_drained", "being drained")
        return self._carry_out(
            kind,
            act,
            order,
            lambda: f"{node_id} is {text}",
            node=node_id,
            change=lambda: Change(before, _IN_USE if back else "draining"),
        )

    def pin(self, attribute: str, order: Order, *, pinned: bool) -> Done:
        """Store ``None`` for an attribute without trying, or try it again.

        Raises:
            CommandError: Too many attributes are pinned.
        """

        def act(control: Control) -> int:
            name = PIN + short_name(attribute)
            pins = [choice for choice in control.choices(PIN).values() if choice.value]
            if pinned and len(pins) >= MAX_PINS:
                raise CommandError(f"{MAX_PINS} attributes are pinned, more are not allowed")
            if not pinned:
                return control.shared.put(f"choice:{name}", None)
            who, why = one_line(order.actor, LONGEST), one_line(order.reason, LONGEST)
            return control.choose(name, "pinned", who=who, why=why)

        kind = "pinned" if pinned else "unpinned"
        return self._carry_out(kind, act, order, lambda: f"{quoted(attribute)} is {kind}")

    def clear(self, attributes: Sequence[str] | None, order: Order) -> Done:
        """Forget what is on the blacklist so far, of these attributes or (``None``) of all.

        Raises:
            CommandError: One of them has no name, or there are too many.
        """
        if attributes is not None and "" in attributes:
            raise CommandError("an attribute without a name is cleared together with all others")
        if attributes is not None and len(attributes) > MAX_CLEARS:
            raise CommandError(f"at most {MAX_CLEARS} attributes are cleared at once, or all")

        def act(control: Control) -> int:
            if attributes is None:
                for name in control.choices(CLEAR):
                    control.shared.put(f"choice:{CLEAR}{name}", None)
            who, why = one_line(order.actor, LONGEST), one_line(order.reason, LONGEST)
            # The empty name stands for all attributes.
            names = [""] if attributes is None else [short_name(name) for name in attributes]
            stamps = [control.choose(CLEAR + name, "cleared", who=who, why=why) for name in names]
            clears = [(c.stamp, name) for name, c in control.choices(CLEAR).items() if c.value]
            for _, name in sorted(clears, reverse=True)[MAX_CLEARS:]:
                control.shared.put(f"choice:{CLEAR}{name}", None)
            return max(stamps, default=0)

        if attributes is None:
            what = "everything was"
        elif len(attributes) == 1:
            what = f"{quoted(attributes[0])} was"
        else:
            what = f"{len(attributes)} attributes were"
        text = f"{what} removed from the blacklist"
        return self._carry_out("unblacklisted", act, order, lambda: text)

    def forget_worker(self, worker: str, order: Order) -> Done:
        """Remove a worker that ended without a word.

        Raises:
            CommandError: There is no such worker, or it lives.
        """

        def act(_: Control) -> int:
            if worker not in self._heartbeat.names():
                raise CommandError(f"there is no worker {quoted(worker)}")
            if self._heartbeat.lives(worker):
                text = f"worker {quoted(worker)} lives; only one that is gone is forgotten"
                raise CommandError(text)
            self._heartbeat.forget(worker)
            return 0

        text = f"worker {one_line(worker, 120)} is forgotten"
        also = self._heartbeat.shared
        return self._carry_out("worker_forgotten", act, order, lambda: text, also=also)

    def reset_circuit(self, node_id: str, order: Order) -> Done:
        """Forget the failures of a node, so that it is asked again at the next tick.

        Raises:
            CommandError: There is no such node.
        """
        if node_id not in self._nodes:
            known = ", ".join(self._nodes)
            raise CommandError(f"there is no node {quoted(node_id)}; there are {known}")
        self._state.forget_failures(node_id)
        return write_down(
            self._events, "circuit_reset", order, f"{node_id} is asked again", node=node_id
        )

    def note(self, kind: str, text: str, order: Order, *, node: str | None = None) -> Done:
        """Write down what an operator did that changes nothing of the fleet's."""
        return write_down(self._events, kind, order, text, node=node)

    def _check(self, name: str, stamp: int, order: Order) -> None:
        """Compare what the fleet holds with what the operator saw: the only place that does."""
        if order.based_on is not None and order.based_on != str(stamp):
            text = f"{name} was changed in the meantime; look at its value and try again"
            raise ConflictError(text)

    def _carry_out(
        self,
        kind: str,
        act: Callable[[Control], int],
        order: Order,
        text: Callable[[], str],
        *,
        node: str | None = None,
        change: Callable[[], Change] = Change,
        also: SharedMap | None = None,
    ) -> Done:
        stamp = 0

        def acted(control: Control) -> None:
            nonlocal stamp
            stamp = act(control)

        told = tuple(self._sharing.command(acted, also=also))
        result = f"told to {', '.join(told) or 'this host only'}"
        return write_down(
            self._events,
            kind,
            order,
            text(),
            stamp=stamp,
            told=told,
            node=node,
            change=change(),
            result=result,
        )
