"""The one door for operators, of dashboard and command line: shows the fleet and changes it.

A command is one function: check, change, event and line of the audit log, outcome.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from flask_msm.cluster.control import (
    CLEAR,
    DISTRIBUTION,
    ON_RECONNECT,
    PIN,
    POLICY,
    RUNNING,
    SILENCE,
    STOPPED,
)
from flask_msm.errors import (
    CommandError,
    ConflictError,
    UnreachedError,
    one_line,
    quoted,
    short_name,
)
from flask_msm.sessions.pins import MAX_PINS
from flask_msm.settings.settings import OnReconnect, PolicyName

from .console_view import ConsoleView
from .projection import event_id, typed_id
from .silences import FLEET, check_silence, set_silence
from .state.facts import few_copies
from .state.formatting import minute


if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from flask_msm.cluster.control import Control
    from flask_msm.cluster.shared_map import SharedMap

    from .snapshot import SessionFacts


audit = logging.getLogger("flask_msm.audit")

POLICIES: tuple[str, ...] = PolicyName.__args__  # type: ignore[attr-defined]
RECONNECTS: tuple[str, ...] = OnReconnect.__args__  # type: ignore[attr-defined]
_ALLOWED = {POLICY: POLICIES, ON_RECONNECT: RECONNECTS, DISTRIBUTION: (RUNNING, STOPPED)}
#: Most attributes whose clearing is remembered by name; of more, the oldest are forgotten.
MAX_CLEARS = 200
_IN_USE = "in use"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a command.

    Attributes:
        text: In one sentence, for example ``policy: raise -> blacklist``.
        event: Id of the event that was written down, one of ``Snapshot.events`` from now on.
        stamp: Stamp of the change, if something was changed for the fleet.
        after: What holds since, in a word, where it is one of a few.
        nodes: Ids of the nodes that know it; with none, only workers of this host hear of it now.
        error: Why a node that was probed did not answer; ``None`` if it did.
        milliseconds: How long a node that was probed took.
    """

    text: str
    event: str | None = None
    stamp: str | None = None
    after: str | None = None
    nodes: tuple[str, ...] = ()
    error: str | None = None
    milliseconds: float | None = None


class _Change(NamedTuple):
    """What a command changed: in one sentence, its stamp, what held before it and holds since."""

    text: str
    stamp: int = 0
    before: str | None = None
    after: str | None = None


class Console(ConsoleView):
    """Shows the fleet and changes it.

    Every command takes:

    * *actor*: name of the operator, kept and shown with the change; never empty;
    * *reason*: why, in their words; may be empty;
    * *based_on*: the stamp the operator saw (``Choice.stamp``, ``Node.stamp``), ``None`` for an
      unconditional change. It is compared with what the nodes hold, which are asked first.
      Commands whose target has no stamp do not look at it.

    and, unless it says otherwise, raises

    * ``ConflictError`` when it was changed in the meantime: nothing was changed again;
    * ``CommandError`` when it cannot be done, with the reason in words for the operator.

    A command may do I/O and takes a few seconds at most. It writes an event and a line of the
    ``flask_msm.audit`` log itself, also when nothing had to be changed.
    """

    def note(
        self, kind: str, text: str, *, actor: str, reason: str = "", level: str = "info"
    ) -> Outcome:
        """Write an event and a line of audit, for example of a refused attempt; never raises.

        Args:
            kind: Short name, for example ``action_denied``.
            text: One sentence without contents of sessions.
            actor: The operator, or ``-`` when the name is not known.
            reason: Why.
            level: ``info``, ``warning`` or ``error``.
        """
        # All of it may come from a request that was refused.
        kind, text = one_line(kind, 60), one_line(text, 500)
        level = level if level in ("info", "warning", "error") else "info"
        return self._write_down(kind, _Change(text), _by(actor, reason), level=level)

    # -- what can be chosen --------------------------------------------------------------------

    def set_policy(
        self, value: str | None, *, actor: str, reason: str, based_on: str | None
    ) -> Outcome:
        """Choose the serialization policy; ``None`` goes back to the configuration."""
        return self._choose(POLICY, value, _by(actor, reason), based_on)

    def set_on_reconnect(
        self, value: str | None, *, actor: str, reason: str, based_on: str | None
    ) -> Outcome:
        """Choose what happens to local changes when the cluster returns; ``None`` as above."""
        return self._choose(ON_RECONNECT, value, _by(actor, reason), based_on)

    def stop(self, *, actor: str, reason: str, based_on: str | None) -> Outcome:
        """Stop distribution for the fleet, at once; *based_on*: ``Snapshot.distribution``."""
        return self._choose(DISTRIBUTION, STOPPED, _by(actor, reason), based_on)

    def resume(self, *, actor: str, reason: str, based_on: str | None) -> Outcome:
        """Let distribution go on; *based_on*: ``Snapshot.distribution``."""
        return self._choose(DISTRIBUTION, RUNNING, _by(actor, reason), based_on)

    def _choose(
        self, name: str, value: str | None, by: dict[str, str], based_on: str | None
    ) -> Outcome:
        configured, allowed = self._cluster().configured[name], _ALLOWED[name]
        if value is not None and value not in allowed:
            raise CommandError(f"{name} cannot be {quoted(value)}; allowed: {', '.join(allowed)}")

        def change(control: Control) -> _Change:
            _check_unchanged(name, control.choice(name).stamp, based_on)
            before, after = self.value(name), value or f"{configured} (configuration)"
            stamp = control.choose(name, value, **by)
            return _Change(f"{name}: {before} -> {after}", stamp, before, after)

        return self._carry_out(f"{name}_changed", change, by)

    # -- nodes and workers ---------------------------------------------------------------------

    def drain(
        self, node: str, *, actor: str, reason: str, based_on: str | None, force: bool = False
    ) -> Outcome:
        """Take a node out of use; refused for the last one in use.

        Also refused when fewer nodes are left than there shall be copies, unless with *force*.
        """
        by, nodes = _by(actor, reason), self._cluster(node).nodes

        def change(control: Control) -> _Change:
            drains, before = control.drains(), control.drain(node)
            _check_unchanged(node, before.stamp, based_on)
            # A drained node may be switched off already: it stays drained.
            if before.value != "drained":
                if not [other for other in nodes if other != node and other not in drains]:
                    text = f"{node} is the last node in use; draining it would leave no cluster"
                    raise CommandError(text)
                if not force and (trouble := few_copies(self.view(), node)):
                    raise CommandError(trouble)
                control.set_drain(node, "draining", **by)
            stamp, held = control.drain(node).stamp, before.value or _IN_USE
            is_over = before.value == "drained"
            text = f"{node} was drained already" if is_over else f"{node} is being drained"
            return _Change(text, stamp, held, before.value if is_over else "draining")

        return self._carry_out("node_drained", change, by, node=node)

    def undrain(self, node: str, *, actor: str, reason: str, based_on: str | None) -> Outcome:
        """Take a node into use again; it is rebuilt before it is trusted."""
        self._cluster(node)
        by = _by(actor, reason)

        def change(control: Control) -> _Change:
            before = control.drain(node)
            _check_unchanged(node, before.stamp, based_on)
            # A node in use keeps its trust.
            if before.value:
                control.set_missed(node, "was drained")
                control.set_drain(node, None, **by)
            stamp, held = control.drain(node).stamp, before.value or _IN_USE
            text = f"{node} is taken back" if before.value else f"{node} was in use already"
            return _Change(text, stamp, held, _IN_USE)

        return self._carry_out("node_restored", change, by, node=node)

    def probe(self, node: str, *, actor: str, reason: str, based_on: str | None) -> Outcome:
        """Ask a node from this worker whether it answers; the outcome says so, with the time."""
        monitor = self._cluster(node).monitor
        began = time.monotonic()
        error = monitor.probe(node)
        took = (time.monotonic() - began) * 1000
        text = f"{node} answered in {took:.1f} ms" if error is None else f"{node}: {error}"
        outcome = self._write_down("probed", _Change(text), _by(actor, reason), node=node)
        return replace(outcome, error=error, milliseconds=took)

    def reset_circuit(self, node: str, *, actor: str, reason: str, based_on: str | None) -> Outcome:
        """Forget the failures of a node in this worker and probe it at once."""
        cluster, change = self._cluster(node), _Change(f"{node} is asked again")
        cluster.state.forget_failures(node)
        outcome = self._write_down("circuit_reset", change, _by(actor, reason), node=node)
        cluster.monitor.probe(node)
        return outcome

    def silence(
        self, node: str | None, seconds: float, *, actor: str, reason: str, based_on: str | None
    ) -> Outcome:
        """Let alerts not tell of a known outage for a time; pages and *status* go on showing it.

        Args:
            node: Id of the node; ``None`` for the whole fleet.
            seconds: For how long, at most 7 days.
            actor: Who does.
            reason: A note for the next person, at most 120 characters; not empty.
            based_on: Is not used.
        """
        self._cluster(node)
        check_silence(seconds, reason)
        now, what = self._clock.time(), node or "the fleet"

        def change(control: Control) -> _Change:
            stamp = set_silence(control, node, now + seconds, now, _by(actor, reason))
            return _Change(f"{what} is silenced until {minute(now + seconds)}", stamp)

        return self._carry_out("silenced", change, _by(actor, reason), node=node)

    def unsilence(
        self, node: str | None, *, actor: str, reason: str, based_on: str | None
    ) -> Outcome:
        """Let alerts tell of a node again, with ``None`` of the fleet; *based_on* is not used."""
        self._cluster(node)

        def change(control: Control) -> _Change:
            stamp = control.remove_choice(SILENCE + (node or FLEET))
            return _Change(f"{node or 'the fleet'} is silenced no more", stamp)

        return self._carry_out("unsilenced", change, _by(actor, reason), node=node)

    def forget_worker(
        self, worker: str, *, actor: str, reason: str, based_on: str | None
    ) -> Outcome:
        """Show a worker that is gone no longer; refused for one that lives."""
        workers = self._cluster().workers
        # A report may be newer than what the nodes hold of a worker.
        living = {one.id for one in self.view().workers if not one.gone}

        def change(_: Control) -> _Change:
            if worker in living or workers.lives(worker):
                text = f"worker {quoted(worker)} lives; only one that is gone is forgotten"
                raise CommandError(text)
            if worker not in workers.names():
                raise CommandError(f"there is no worker {quoted(worker)}")
            workers.forget(worker)
            return _Change(f"worker {one_line(worker, 120)} is forgotten")

        return self._carry_out("worker_forgotten", change, _by(actor, reason), also=workers.shared)

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
        if attributes is not None and "" in attributes:
            raise CommandError("an attribute without a name is cleared together with all others")
        if attributes is not None and len(attributes) > MAX_CLEARS:
            raise CommandError(f"at most {MAX_CLEARS} attributes are cleared at once, or all")
        by, what = _by(actor, reason), "everything was"
        if attributes is not None:
            one = len(attributes) == 1
            what = f"{quoted(attributes[0])} was" if one else f"{len(attributes)} attributes were"

        def change(control: Control) -> _Change:
            if attributes is None:
                for name in control.choices(CLEAR):
                    control.remove_choice(CLEAR + name)
            # The empty name stands for all attributes.
            names = [""] if attributes is None else [short_name(name) for name in attributes]
            stamps = [control.choose(CLEAR + name, "cleared", **by) for name in names]
            clears = [(c.stamp, name) for name, c in control.choices(CLEAR).items() if c.value]
            for _, name in sorted(clears, reverse=True)[MAX_CLEARS:]:
                control.remove_choice(CLEAR + name)
            return _Change(f"{what} removed from the blacklist", max(stamps, default=0))

        return self._carry_out("unblacklisted", change, by)

    def pin(self, attribute: str, *, actor: str, reason: str, based_on: str | None) -> Outcome:
        """Store ``None`` for an attribute from now on, without trying."""
        by = _by(actor, reason)

        def change(control: Control) -> _Change:
            pins = [choice for choice in control.choices(PIN).values() if choice.value]
            if len(pins) >= MAX_PINS:
                raise CommandError(f"{MAX_PINS} attributes are pinned, more are not allowed")
            stamp = control.choose(PIN + short_name(attribute), "pinned", **by)
            return _Change(f"{quoted(attribute)} is pinned", stamp)

        return self._carry_out("pinned", change, by)

    def unpin(self, attribute: str, *, actor: str, reason: str, based_on: str | None) -> Outcome:
        """Try the attribute again; refused for what ``MSM_BLACKLIST`` pins."""
        if attribute in self.settings.blacklist:
            raise CommandError(f"MSM_BLACKLIST pins {quoted(attribute)}; it is unpinned there")

        def change(control: Control) -> _Change:
            stamp = control.remove_choice(PIN + short_name(attribute))
            return _Change(f"{quoted(attribute)} is unpinned", stamp)

        return self._carry_out("unpinned", change, _by(actor, reason))

    # -- single sessions -----------------------------------------------------------------------

    def lookup(self, ref_or_cookie: str, *, actor: str, reason: str) -> SessionFacts | None:
        """Return what is known of a session; ``None`` when nothing is left of that ref.

        Of a cookie that was signed here it is known what became of its session: whether it ended,
        and by whom, expired, or was lost (``SessionFacts.fate``).

        *ref_or_cookie* is its ref (ten hexadecimal digits) or the value of its cookie. It is kept
        nowhere, the event names the ref only.

        Raises:
            CommandError: It is neither, or it cannot be known now.
        """
        if self._visits and self.application.cluster is not None:
            self.survey()
        facts = self._lookups.find(ref_or_cookie)
        ref = facts.ref if facts else "that does not exist"
        self.note("looked_up", f"session {ref} was looked up", actor=actor, reason=reason)
        return facts

    def revoke(self, handle: str, *, actor: str, reason: str, based_on: str | None) -> Outcome:
        """End a session everywhere; *handle*: ``SessionFacts.handle``, *based_on* is not used.

        Raises:
            CommandError: It cannot be known now whether it ended, or there is no such session.
        """
        ref = self._lookups.end(handle, by=actor, reason=one_line(reason, 200))
        text = f"session {ref} was ended"
        if self.application.cluster is None:
            return self.note("revoked", text, actor=actor, reason=reason)
        return self._carry_out("revoked", lambda _: _Change(text), _by(actor, reason))

    # -- what commands share -------------------------------------------------------------------

    def _carry_out(
        self,
        kind: str,
        change: Callable[[Control], _Change],
        by: dict[str, str],
        *,
        node: str | None = None,
        also: SharedMap | None = None,
    ) -> Outcome:
        """Let *change* judge and act after all nodes were read; write down what it did."""
        cluster = self._cluster()
        done: list[_Change] = []
        announced: list[str] = []

        def act(control: Control) -> None:
            done.append(change(control))
            line, event = _line(kind, done[0].text, by), _event(kind, done[0], by, node)
            announced.append(control.announce(line, event if self._visits else None))
            if not self._visits:
                # Before any other worker of the host learns of it.
                cluster.monitor.audit_log.wrote(announced[0])

        reached = cluster.reactions.command(act, also=also)
        shelf = self.application.local.shelf
        # What a worker changed holds in its memory; the memory of a visitor ends with the command.
        if self._visits and not reached and (shelf is None or shelf.place is None):
            # A shell that lacks the secret of the workers, for example.
            foreign = cluster.control.shared.left_alone
            why = "what nodes hold cannot be read here" if foreign else "no node could be reached"
            raise UnreachedError(f"{why}, nothing was changed")
        outcome = self._write_down(kind, done[0], by, node=node, reached=tuple(reached))
        return replace(outcome, event=typed_id(announced[0])) if self._visits else outcome

    def _write_down(
        self,
        kind: str,
        change: _Change,
        by: dict[str, str],
        *,
        level: str | None = None,
        node: str | None = None,
        reached: tuple[str, ...] | None = None,
    ) -> Outcome:
        """Write an event and a line of the audit log: the only place that does.

        What a visitor changed for the fleet has its line from the workers of each host.
        """
        event = _event(kind, change, by, node)
        result = None if reached is None else f"told to {', '.join(reached) or 'this host only'}"
        number = self.application.events.add(
            level or "info",
            # A note stands as it is.
            **{**event, "text": change.text if level else event["text"]},
            result=result,
        )
        last = f"; {result}" if result else ""
        if not self._visits:
            audit.warning("%s%s", _line(kind, change.text, by), last)
        elif result is None:
            # A terminal shows warnings of Python's default logging.
            audit.info("%s", _line(kind, change.text, by))
        cluster = self.application.cluster
        if cluster is not None and reached is not None:
            note = partial(
                cluster.history.add_change,
                self._clock.time(),
                kind=kind,
                text=change.text,
                node=node,
                who=by["who"],
                why=by["why"],
                before=change.before,
                after=change.after,
            )
            if self._visits or not cluster.urgent.put(lambda _: note()):
                note()
        if self.observer is not None:
            self.observer.renew()
        return Outcome(
            text=change.text,
            event=event_id(cluster.workers.worker if cluster else "", number),
            stamp=str(change.stamp) if change.stamp else None,
            after=change.after,
            nodes=reached or (),
        )


def _by(actor: str, reason: str) -> dict[str, str]:
    """Return operator and reason as they are kept: at most 200 characters of each."""
    return {"who": one_line(actor, 200), "why": one_line(reason, 200)}


def _event(kind: str, change: _Change, by: dict[str, str], node: str | None) -> dict[str, Any]:
    """Return what was done as an event."""
    because = f" ({by['why']})" if by["why"] else ""
    return {
        "kind": kind,
        "text": f"{change.text}, by {by['who']}{because}",
        "node": node,
        "actor": by["who"],
        "reason": by["why"],
        "before": change.before,
        "after": change.after,
    }


def _line(kind: str, text: str, by: dict[str, str]) -> str:
    """Return the line of the audit log for what was done."""
    because = f" ({by['why']})" if by["why"] else ""
    return f"{kind}: {text}, by {by['who']}{because}"


def _check_unchanged(name: str, stamp: int, based_on: str | None) -> None:
    """Compare what the fleet holds with what the operator saw: the only place that does."""
    if based_on is not None and based_on != str(stamp):
        raise ConflictError(f"{name} was changed in the meantime; look at its value and try again")
