"""What an operator can ask of the console: the Protocol a dashboard or command line is made for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from flask_msm.operations.snapshot import SessionFacts, Snapshot


#: Views with this attribute look on: a request for one is no use of a session, so that a page
#: that polls does not keep its operator's session alive.
LOOKS_ON = "_flask_msm_looks_on"


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


class Console(Protocol):
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
    """

    def view(self) -> Snapshot:
        """Return the fleet as it is known here. Never blocks on I/O, never raises."""
        ...

    def look(self) -> Snapshot:
        """Return the fleet after the nodes were asked what operators have changed.

        For somebody who is about to change it: *based_on* is the newest then, also if another
        worker made the last change a moment ago. Takes a quarter of a second at most, whatever
        hangs, and is ``view()`` if no node answers. Never raises.
        """
        ...

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
        ...

    def set_policy(
        self, value: str | None, *, actor: str, reason: str, based_on: str | None
    ) -> Outcome:
        """Choose the serialization policy; ``None`` goes back to the configuration."""
        ...

    def set_on_reconnect(
        self, value: str | None, *, actor: str, reason: str, based_on: str | None
    ) -> Outcome:
        """Choose what happens to local changes when the cluster returns; ``None`` as above."""
        ...

    def stop(self, *, actor: str, reason: str, based_on: str | None) -> Outcome:
        """Stop distribution for the fleet, at once; *based_on*: ``Snapshot.distribution``."""
        ...

    def resume(self, *, actor: str, reason: str, based_on: str | None) -> Outcome:
        """Let distribution go on; *based_on*: ``Snapshot.distribution``."""
        ...

    def drain(self, node: str, *, actor: str, reason: str, based_on: str | None) -> Outcome:
        """Take a node out of use; refused for the last one in use."""
        ...

    def undrain(self, node: str, *, actor: str, reason: str, based_on: str | None) -> Outcome:
        """Take a node into use again; it is rebuilt before it is trusted."""
        ...

    def probe(self, node: str, *, actor: str, reason: str, based_on: str | None) -> Outcome:
        """Ask a node from this worker whether it answers; the outcome says so, with the time."""
        ...

    def reset_circuit(self, node: str, *, actor: str, reason: str, based_on: str | None) -> Outcome:
        """Forget the failures of a node in this worker and probe it at once."""
        ...

    def clear_blacklist(
        self,
        attributes: Sequence[str] | None,
        *,
        actor: str,
        reason: str,
        based_on: str | None,
    ) -> Outcome:
        """Forget what was seen so far of exactly these attributes; ``None`` for all there are."""
        ...

    def pin(self, attribute: str, *, actor: str, reason: str, based_on: str | None) -> Outcome:
        """Store ``None`` for an attribute from now on, without trying."""
        ...

    def unpin(self, attribute: str, *, actor: str, reason: str, based_on: str | None) -> Outcome:
        """Try the attribute again; refused for what ``MSM_BLACKLIST`` pins."""
        ...

    def forget_worker(
        self, worker: str, *, actor: str, reason: str, based_on: str | None
    ) -> Outcome:
        """Show a worker that is gone no longer; refused for one that lives."""
        ...

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
        ...

    def revoke(self, handle: str, *, actor: str, reason: str, based_on: str | None) -> Outcome:
        """End a session everywhere; *handle*: ``SessionFacts.handle``, *based_on* is not used.

        Raises:
            CommandError: Nobody can tell now, or there is no such session.
        """
        ...
