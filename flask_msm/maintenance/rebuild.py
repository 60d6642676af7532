"""Bringing a node that missed something back to where it holds all it is home to.

Workers share it by ranges of keys (``ranges.py``). Each lists the keys of all other nodes and joins
every record whose home includes the node into it; it compares first, so what was cut off is resumed
at the price of reading.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, NamedTuple

from flask_msm.errors import NodeError, NodeValueError
from flask_msm.record.hybrid_clock import stamp_at

from .lease import LEASES, Lease, LeaseLostError, kept
from .mover import Mover, Task, UnreadableError
from .ranges import RANGES, Ranges


if TYPE_CHECKING:
    from collections.abc import Sequence

    from flask_msm.cluster.placement import Placement

    from .copier import RecordCopier
    from .membership import Membership
    from .ranges import Done


class Progress(NamedTuple):
    """How far this worker is with a rebuild or drain.

    Attributes:
        began: Monotonic time, seconds.
    """

    node: str
    looked_at: int
    copied: int
    began: float


@dataclass(eq=False)
class Rebuilder:
    """Rebuilds and drains nodes.

    Attributes:
        left_to_others: Nodes of which another worker can read more than this one.
    """

    membership: Membership
    _: KW_ONLY
    placement: Placement
    copier: RecordCopier
    key_prefix: str

    def __post_init__(self) -> None:
        self._nodes, self._clock = self.membership.nodes, self.membership.clock
        self._control, self._events = self.membership.control, self.membership.events
        self._now: tuple[Mover, float] | None = None
        self.left_to_others: set[str] = set()
        #: Nodes that do not list their keys.
        self.unlisted: set[str] = set()

    @property
    def progress(self) -> Progress | None:
        """How far it is, ``None`` when nothing is rebuilt or drained."""
        now = self._now
        if now is None:
            return None
        mover, began = now
        copied, looked_at = mover.so_far
        return Progress(mover.task.node_id, looked_at, copied, began)

    def rebuild(self, node_id: str, sources: list[str], *, is_missed: bool = False) -> bool:
        """Bring *node_id* up to date from all others that may hold something; return whether it is.

        If one of them fails what was done does not count, for it may hold the only copy. While a
        worker goes on writing past it, or a node is down (*is_missed*), the node gets its copies
        and is not trusted: what is written past it meanwhile, or is on that one, would be missing,
        and that worker may die without a word.
        """
        # It takes over from nodes that are drained, or will be soon, and from one that is down.
        holders = set(sources) - set(self._control.drains())
        is_home = self.placement.home_test(node_id, holders)
        away = ",".join(sorted(set(self._nodes) - {node_id, *holders}))

        def target_of(key: bytes) -> list[str]:
            return [node_id] if is_home(key) else []

        # Just above what is known to be missed, not the time of this clock: a miss that happens
        # meanwhile is newer, also if the clock of the worker that notices it is behind.
        began = self._control.standing(node_id).missed + 1
        filled_at = stamp_at(self._clock.time())
        memory = self._memory(node_id)
        if memory is None:
            return False
        task = Task("rebuild", node_id, sources, target_of)
        goal = self._fill(node_id) if is_missed else f"{began}-{away}" if away else str(began)
        if not self._share(task, sources, f"{goal} {memory}"):
            return False
        if self._memory(node_id) != memory:
            text = f"rebuild of {node_id} does not count: it lost its memory meanwhile"
            self._events.add("warning", "rebuild_failed", text, node=node_id, begins="rebuild")
            return False
        if is_missed:
            self._control.set_filled(node_id, max(began, filled_at))
        else:
            self._control.set_rebuilt(node_id, began)
        return True

    def _fill(self, node_id: str) -> str:
        """Return what names one fill for all workers, by each of which a miss is renewed."""
        control = self._control
        return f"fill {control.filled(node_id)} {control.lost().get(node_id, 0)}"

    def _memory(self, node_id: str) -> str | None:
        """Return which memory answers, if the fleet knows it; ``None`` if not, or none answers."""
        noted = self._control.identity(node_id)
        try:
            deadline = self._clock.monotonic() + self.membership.timeout
            shown = self.membership.identities.of(self._nodes[node_id], deadline)
        except NodeError:
            return None
        if noted is None or shown is None:
            return ""  # a node that keeps no identity: its map decides
        return shown if shown == noted else None

    def drain(self, node_id: str, others: list[str]) -> bool:
        """Copy what *node_id* holds to *others*, which may be written; return whether it is.

        What it lacks is copied from these, for it will not be filled any more.
        """
        usable, placement = set(others), self.placement

        def target_of(key: bytes) -> list[str]:
            ranked = placement.rank(key.decode("ascii"))
            return [other for other in ranked if other in usable][: placement.replicas]

        ordered = self._control.drain(node_id).stamp
        is_whole = self._control.standing(node_id).trusted
        sources = [node_id] if is_whole else [node_id, *others]
        task = Task("drain", node_id, sources, target_of)
        return self._share(task, others, f"drain {ordered} {','.join(sorted(others))}")

    def _share(self, task: Task, keepers: Sequence[str], goal: str) -> bool:
        """Do what other workers leave of *task*; return whether all of it is done.

        One of *keepers*, other nodes that are in use, has the leases: the same for all workers.
        """
        node_id = task.node_id
        if not keepers:
            return True  # the only node: there is no other to copy from or to
        whole = self._taken(f"{self.key_prefix}{LEASES}{node_id}", keepers)
        if whole is None:
            return False
        clock, timeout = self._clock, self.membership.timeout
        keys = self.copier.envelope.keys
        ranges = Ranges(whole.node, whole.key, goal, keys=keys, clock=clock, timeout=timeout)
        mover = Mover(
            task,
            nodes=self._nodes,
            copier=self.copier,
            ranges=ranges,
            clock=clock,
            prefix=self.key_prefix,
            is_read_elsewhere=self.membership.workers.is_read_elsewhere,
            unlisted=self.unlisted,
        )
        try:
            with kept(lambda: [whole, *mover.leases.values()]):
                done = self._move(mover)
        except (LeaseLostError, UnreadableError, NodeError) as error:
            if isinstance(error, UnreadableError):
                self.left_to_others.add(node_id)
            self._failed(task, error, began=bool(self._now))
            return False
        finally:
            self._now = None
            mover.release()
        if len(done) == len(RANGES):
            whole.release()
        return len(done) == len(RANGES)

    def _taken(self, key: str, keepers: Sequence[str]) -> Lease | None:
        """Return the lease that all share, on the first node that takes one; ``None`` for none.

        Workers of a version without ranges have it alone, and leave it to those that share it.
        """
        for keeper in sorted(keepers):
            lease = Lease(
                self._nodes[keeper],
                key,
                clock=self._clock,
                timeout=self.membership.timeout,
                shared=True,
            )
            try:
                return lease if lease.acquire() else None
            except NodeValueError:
                continue  # it is full
            except NodeError:
                return None  # the next tick sees to it
        return None

    def _move(self, mover: Mover) -> dict[str, Done]:
        """Do ranges until none is left; return those that are done, by whichever worker."""
        task, began = mover.task, self._clock.monotonic()
        while True:
            done = mover.take()
            if not mover.leases:
                break
            if self._now is None:
                self._now = mover, began
                text = f"{task.what} of {task.node_id} began"
                self._events.add("info", f"{task.what}_began", text, node=task.node_id)
            mover.move()
        if self._now is not None:
            self._finished(mover, done, self._clock.monotonic() - began)
        return done

    def _finished(self, mover: Mover, done: dict[str, Done], seconds: float) -> None:
        task, is_whole = mover.task, len(done) == len(RANGES)
        copied, looked_at = mover.so_far
        if is_whole:
            copied = sum(one.copied for one in done.values())
            looked_at = sum(one.looked_at for one in done.values())
        share = "" if is_whole else "a part of the "
        text = (
            f"{share}{task.what} of {task.node_id} finished: {copied} records copied,"
            f" {looked_at} compared in {seconds:.1f} s"
        )
        if mover.refused:
            text += f"; {mover.refused} were refused, their other copy counts"
        if mover.unread:
            text += f"; {mover.unread} were left that no worker can read"
        level = "warning" if mover.refused or mover.unread else "info"
        if is_whole:
            kind = f"{task.what}_finished"
            self._events.add(level, kind, text, node=task.node_id, ends=task.what)
        else:
            self._events.add(level, f"{task.what}_shared", text, node=task.node_id)

    def _failed(self, task: Task, error: Exception, *, began: bool) -> None:
        if not began and isinstance(error, NodeError):
            return  # the node that keeps leases does not answer: the next tick sees to it
        text = f"{task.what} of {task.node_id} was broken off: {error}"
        if isinstance(error, NodeValueError):
            text += "; the node stays in use and is read together with others"
        self._events.add(
            "warning", f"{task.what}_failed", text, node=task.node_id, begins=task.what
        )
