"""One worker's part of a rebuild or drain: ranges that it takes, listings, passes over both."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from flask_msm.errors import NodeValueError
from flask_msm.memcached.wire import LimitReachedError
from flask_msm.record.keys import DIGEST_LENGTH

from .copier import Batch, Tally
from .gathering import Gathering
from .lease import LeaseLostError
from .patience import patiently
from .ranges import Done


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from flask_msm.memcached.client import MemcachedNode
    from flask_msm.process.clock import Clock

    from .copier import RecordCopier
    from .lease import Lease
    from .ranges import Ranges

T = TypeVar("T")

#: A listing is no snapshot: passes are repeated until one finds nothing, at most so often.
MAX_PASSES = 4
#: Time in seconds a node may take to list its keys, and may list them to others before.
LIST_TIME = 60.0


class UnreadableError(Exception):
    """Records are in the way that this worker cannot read, and another one can."""

    def __init__(self, count: int) -> None:
        self.count = count
        super().__init__(f"{count} records can be read by other workers only")


class Task(NamedTuple):
    """What is to be copied.

    Attributes:
        what: ``rebuild`` or ``drain``.
        node_id: The node that is rebuilt or drained.
        sources: Ids of nodes that are copied from.
        target_of: Returns the ids of the nodes that the record of a storage key is copied to.
    """

    what: str
    node_id: str
    sources: list[str]
    target_of: Callable[[bytes], list[str]]


@dataclass(eq=False)
class Mover:
    """Copies ranges of a task, as many as it is given.

    A range is done when a pass over it has found nothing to copy. The listings for that pass serve
    the first pass over the next ranges as well.

    Attributes:
        leases: Of the ranges that it has and are not done.
        refused: Records that targets refused in passes that were the last.
        unread: Records that no worker could read in passes that were the last.
        unlisted: Nodes that do not list their keys.
    """

    task: Task
    _: KW_ONLY
    nodes: Mapping[str, MemcachedNode]
    copier: RecordCopier
    ranges: Ranges
    clock: Clock
    prefix: str
    is_read_elsewhere: Callable[[frozenset[str]], bool]
    unlisted: set[str]

    def __post_init__(self) -> None:
        self.leases: dict[str, Lease] = {}
        self.refused = self.unread = 0
        #: By range: how many passes there were, what they did, and what the present one has done.
        self._passes: dict[str, int] = {}
        self._done: dict[str, Done] = {}
        self._tallies: dict[str, Tally] = {}

    @property
    def so_far(self) -> Done:
        """What it has done until now."""
        done, tallies = list(self._done.values()), list(self._tallies.values())
        return Done(
            sum(one.copied for one in done) + sum(tally.written for tally in tallies),
            sum(one.looked_at for one in done) + sum(tally.looked_at for tally in tallies),
        )

    def take(self) -> dict[str, Done]:
        """Take some ranges that no worker has; return those that are done.

        Raises:
            NodeError: The node that keeps their leases failed.
        """
        taken, done = self._patiently(self.ranges.take)
        self.leases |= taken
        return done

    def move(self) -> None:
        """Do one pass over the ranges that it has.

        Raises:
            NodeError: A node failed.
            LeaseLostError: Another worker has one of them.
            UnreadableError: Records are left that another worker can read.
        """
        gathering = self._patiently(self._gathered)
        for digit in [one for one in self.leases if one not in gathering.ranges]:
            self.leases.pop(digit).release()
        self._tallies = {digit: Tally() for digit in gathering.ranges}
        self.copier.copy(self._batches(gathering))
        for source in self.task.sources:
            self._copy_foreign(source)
        tallies, self._tallies = self._tallies, {}
        for digit, tally in tallies.items():
            before = self._done.get(digit, Done())
            looked_at = before.looked_at + tally.looked_at
            self._done[digit] = Done(before.copied + tally.written, looked_at)
            self._passes[digit] = self._passes.get(digit, 0) + 1
            if not tally.written or self._passes[digit] == MAX_PASSES:
                self._finish(digit, tally)

    def release(self) -> None:
        """Give back what is not done."""
        while self.leases:
            self.leases.popitem()[1].release()

    def _patiently(self, act: Callable[[], T]) -> T:
        return patiently(act, self.copier.pause)

    def _gathered(self) -> Gathering:
        """Return what sources list of the ranges that it has."""
        gathering = Gathering(
            list(self.leases),
            prefix=self.prefix,
            target_of=self.task.target_of,
            rest=self.copier.rest,
        )
        for source in self.task.sources:
            self._list(source, gathering)
        return gathering

    def _list(self, source: str, gathering: Gathering) -> None:
        try:
            self.nodes[source].list_digests(
                self.prefix,
                "".join(gathering.ranges),
                DIGEST_LENGTH,
                gathering.take,
                self.clock.monotonic() + LIST_TIME,
            )
            gathering.sort(source)
        except LimitReachedError as error:
            raise NodeValueError(source, "holds more than can be copied at once") from error
        except NodeValueError:
            self.unlisted.add(source)
            raise
        self.unlisted.discard(source)

    def _batches(self, gathering: Gathering) -> Iterator[Batch]:
        for digit in gathering.ranges:
            tally = self._tallies[digit]
            for source, target, keys in gathering.batches(digit):
                self._check()
                yield Batch(self.nodes[source], self.nodes[target], keys, tally)

    def _copy_foreign(self, source: str) -> None:
        """Copy what only others can read as it is; the listing contains how long it lives."""
        node, wanted = self.nodes[source], []
        for tally in self._tallies.values():
            wanted += [
                (target, keys, tally)
                for (held_by, target), keys in tally.foreign.items()
                if held_by == source
            ]
        if not wanted:
            return
        self._check()
        every = [key for _, keys, _ in wanted for key in keys]
        expiries = self._patiently(
            lambda: node.expiries(self.prefix, every, self.clock.monotonic() + LIST_TIME)
        )
        for target, keys, tally in wanted:
            ends = {key: expiries[key] for key in keys if key in expiries}
            self.copier.copy_as_is(ends, node, self.nodes[target], tally)

    def _finish(self, digit: str, tally: Tally) -> None:
        """Note that a range is done."""
        readable = sum(
            count for needs, count in tally.unread.items() if self.is_read_elsewhere(needs)
        )
        if readable:
            raise UnreadableError(readable)
        self._check()
        lease, done = self.leases.pop(digit), self._done[digit]
        if not self._patiently(lambda: self.ranges.finish(lease, done)):
            raise LeaseLostError
        self.refused += tally.refused
        self.unread += tally.unread.total()

    def _check(self) -> None:
        for lease in self.leases.values():
            lease.check()
