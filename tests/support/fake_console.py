"""A console in memory: shows a scene, carries out commands and records them."""

from __future__ import annotations

import itertools
import time
from dataclasses import asdict, replace

from support.fleet_scenes import all_well

from flask_msm.commands import Outcome
from flask_msm.errors import CommandError, ConflictError
from flask_msm.maintenance.history_records import Book
from flask_msm.operations.history import build_history
from flask_msm.operations.snapshot import Choice, Drain, Event, SessionFacts, Snapshot
from flask_msm.operations.worker_totals import parsed


class FakeConsole:
    """Implements ``Console``. Its time stands still unless *moving*."""

    def __init__(self, snapshot: Snapshot | None = None, *, moving: bool = False) -> None:
        self.snapshot = snapshot or all_well()
        self.calls: list[tuple] = []
        self.notes: list[tuple[str, str, str]] = []
        self.views = self.looks = self.histories = 0
        self.fails: Exception | None = None
        #: What ``lookup`` returns.
        self.found: SessionFacts | None = None
        #: What ``history`` is made of.
        self.book = Book()
        self._moving = moving
        self._ids = itertools.count(1000)
        self._stamps = itertools.count(500)

    def view(self) -> Snapshot:
        self.views += 1
        return replace(self.snapshot, at=self._now())

    def history(self, name="24h"):
        self.histories += 1
        at = self._now()
        return build_history(name, self.book, replace(self.snapshot, at=at))

    def totals(self, whose="host"):
        nodes = {node.id: asdict(node.stats) for node in self.snapshot.nodes if node.stats}
        return tuple(
            parsed(worker.id, {"counts": dict(worker.counts), "nodes": nodes})
            for worker in self.snapshot.workers
        )

    def look(self) -> Snapshot:
        self.looks += 1
        return self.view()

    def note(self, kind, text, *, actor, reason="", level="info"):
        self.notes.append((kind, text, actor))
        return Outcome(text=text, event=self._event(kind, text, actor, reason, level))

    def set_policy(self, value, *, actor, reason, based_on):
        return self._choose("policy", value, actor, reason, based_on)

    def set_on_reconnect(self, value, *, actor, reason, based_on):
        return self._choose("on_reconnect", value, actor, reason, based_on)

    def stop(self, *, actor, reason, based_on):
        outcome = self._choose("distribution", "stopped", actor, reason, based_on)
        self._set_mode("stopped")
        return outcome

    def resume(self, *, actor, reason, based_on):
        outcome = self._choose("distribution", "running", actor, reason, based_on)
        self._set_mode("distributed")
        return outcome

    def drain(self, node, *, actor, reason, based_on, force=False):
        self._called("drain", node, actor, reason, based_on)
        found = self._node(node, based_on)
        drain = Drain(value="draining", set_by=actor, set_at=self._now(), reason=reason)
        self._put(replace(found, state="draining", drain=drain, stamp=str(next(self._stamps))))
        return self._done("node_drained", f"{node} is being drained", actor, reason)

    def undrain(self, node, *, actor, reason, based_on):
        self._called("undrain", node, actor, reason, based_on)
        found = self._node(node, based_on)
        stamp = str(next(self._stamps))
        self._put(replace(found, state="up", trusted=False, drain=None, stamp=stamp))
        return self._done("node_restored", f"{node} is taken back", actor, reason)

    def probe(self, node, *, actor, reason, based_on):
        self._called("probe", node, actor, reason, based_on)
        self._node(node, None)
        return self._done("probe", f"{node} answered in 1.2 ms", actor, reason)

    def reset_circuit(self, node, *, actor, reason, based_on):
        self._called("reset_circuit", node, actor, reason, based_on)
        self._node(node, None)
        return self._done("circuit_reset", f"{node} is asked again", actor, reason)

    def clear_blacklist(self, attributes, *, actor, reason, based_on):
        self._called("clear_blacklist", attributes, actor, reason, based_on)
        kept = tuple(
            entry
            for entry in self.snapshot.blacklist
            if attributes is not None and entry.attribute not in attributes
        )
        self.snapshot = replace(self.snapshot, blacklist=kept, blacklist_total=len(kept))
        return self._done("unblacklisted", "removed from the blacklist", actor, reason)

    def pin(self, attribute, *, actor, reason, based_on):
        return self._pin("pin", attribute, actor, reason, based_on, pinned=True)

    def unpin(self, attribute, *, actor, reason, based_on):
        return self._pin("unpin", attribute, actor, reason, based_on, pinned=False)

    def silence(self, node, seconds, *, actor, reason, based_on):
        self._called("silence", node, actor, reason, based_on)
        return self._done("silenced", f"silenced for {seconds:.0f} s", actor, reason)

    def unsilence(self, node, *, actor, reason, based_on):
        self._called("unsilence", node, actor, reason, based_on)
        return self._done("unsilenced", "silenced no more", actor, reason)

    def forget_worker(self, worker, *, actor, reason, based_on):
        self._called("forget_worker", worker, actor, reason, based_on)
        kept = tuple(w for w in self.snapshot.workers if w.id != worker)
        self.snapshot = replace(self.snapshot, workers=kept)
        return self._done("worker_forgotten", f"worker {worker} is forgotten", actor, reason)

    def lookup(self, ref_or_cookie, *, actor, reason):
        self._called("lookup", ref_or_cookie, actor, reason, None)
        return self.found

    def revoke(self, handle, *, actor, reason, based_on):
        self._called("revoke", handle, actor, reason, based_on)
        return self._done("revoked", "a session was revoked", actor, reason)

    # -- what it consists of -------------------------------------------------------------------

    def _now(self):
        return time.time() if self._moving else self.snapshot.at

    def _called(self, name, target, actor, reason, based_on):
        self.calls.append((name, target, actor, reason, based_on))
        if self.fails is not None:
            raise self.fails

    def _choose(self, name, value, actor, reason, based_on):
        called = "distribute" if name == "distribution" else f"set_{name}"
        self._called(called, value, actor, reason, based_on)
        before: Choice = getattr(self.snapshot, name)
        if based_on is not None and based_on != before.stamp:
            raise ConflictError(f"{name} was changed in the meantime")
        after = replace(
            before,
            value=value or before.configured,
            set_by=actor if value else None,
            set_at=self._now(),
            reason=reason,
            stamp=str(next(self._stamps)),
            applied_by=1,
            of=len(self.snapshot.workers),
        )
        self.snapshot = replace(self.snapshot, **{name: after})
        text = f"{name}: {before.value} -> {after.value}"
        return self._done(f"{name}_changed", text, actor, reason)

    def apply_everywhere(self, name="policy"):
        """Let all workers obey what was chosen."""
        choice = getattr(self.snapshot, name)
        self.snapshot = replace(self.snapshot, **{name: replace(choice, applied_by=choice.of)})

    def _set_mode(self, mode):
        workers = tuple(replace(w, mode=mode) for w in self.snapshot.workers)
        self.snapshot = replace(self.snapshot, mode=mode, workers=workers)

    def _node(self, node, based_on):
        for found in self.snapshot.nodes:
            if found.id == node:
                if based_on is not None and based_on != found.stamp:
                    raise ConflictError(f"{node} was changed in the meantime")
                return found
        raise CommandError(f"there is no node {node}")

    def _put(self, node):
        nodes = tuple(node if n.id == node.id else n for n in self.snapshot.nodes)
        self.snapshot = replace(self.snapshot, nodes=nodes)

    def _pin(self, name, attribute, actor, reason, based_on, *, pinned):
        self._called(name, attribute, actor, reason, based_on)
        entries = tuple(
            replace(e, pinned=pinned, added_by=actor) if e.attribute == attribute else e
            for e in self.snapshot.blacklist
        )
        self.snapshot = replace(self.snapshot, blacklist=entries)
        return self._done(f"{name}ned", f"{attribute} is {name}ned", actor, reason)

    def _done(self, kind, text, actor, reason):
        return Outcome(
            text=text,
            event=self._event(kind, text, actor, reason, "info"),
            stamp=str(next(self._stamps)),
            nodes=tuple(n.id for n in self.snapshot.nodes if n.state == "up"),
        )

    def _event(self, kind, text, actor, reason, level):
        made = Event(
            id=f"web-1:2210-{next(self._ids)}",
            at=self._now(),
            level=level,
            kind=kind,
            text=text,
            actor=actor,
            reason=reason or None,
        )
        self.snapshot = replace(self.snapshot, events=(made, *self.snapshot.events))
        return made.id
