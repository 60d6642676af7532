"""A bounded pool of connections that loses no place when its users are interrupted."""

from __future__ import annotations

import itertools
import os
import queue
import weakref
from collections import deque
from typing import TYPE_CHECKING

from .connection import close_inherited
from .failures import PoolExhaustedError


if TYPE_CHECKING:
    from collections.abc import Callable

    from .connection import Connection


class Permits:
    """The free places of a pool.

    A ``SimpleQueue``: a destructor may put to it at any moment of its thread.
    """

    __slots__ = ("__weakref__", "_home", "free")

    def __init__(self, size: int) -> None:
        # Kept here as well: a weak reference found in garbage is dead before destructors run.
        self._home = weakref.ref(self)
        self.free: queue.SimpleQueue[Permit] = queue.SimpleQueue()
        for _ in range(size):
            self.free.put(Permit(self._home))


class Permit:
    """The right to one connection: to be given back, but free again when it is dropped too."""

    __slots__ = ("_home",)

    def __init__(self, home: weakref.ref[Permits]) -> None:
        # Weak: the places of a pool that is gone go with it.
        self._home = home

    def __del__(self) -> None:
        home = self._home()
        if home is not None:
            home.free.put(Permit(self._home))

    def give_back(self) -> None:
        """Make it free for others; its holder must have no reference to it any more."""
        home = self._home()
        if home is not None:
            home.free.put(self)


class Pool:
    """The connections of one node: at most *size*, the one used last is used next.

    A user of a connection waits for a place first, then takes an idle connection or opens one,
    and holds the place as long as that; so there are never more connections than places.

    There are no locks, which an interrupt could leave locked: queues, deques and counters are
    safe by themselves.

    Attributes:
        youngest: Number of the connection opened last. Threads that open connections at the same
            time may set it too low, which makes a ``cas`` more careful.
        process: Id of the process that it belongs to.
        places: The free places, for ``QuickCommands``.
        unused: The idle connections, for ``QuickCommands``: the one used last is the last one.
        retired: Connections up to this number are not used any more.
    """

    #: Idle connections that were not used since ``rest`` was called last.
    _resting: deque[Connection]

    def __init__(self, node: str, size: int, monotonic: Callable[[], float]) -> None:
        self._node = node
        self._size = size
        self._monotonic = monotonic
        self._numbers = itertools.count(1)
        self.youngest = 0
        self._start()
        _pools.add(self)

    def _start(self) -> None:
        self.process = os.getpid()
        self.places = Permits(self._size)
        self.unused: deque[Connection] = deque()
        self._resting = deque()
        self.retired = 0

    @property
    def free(self) -> int:
        """How many places are free."""
        return self.places.free.qsize()

    @property
    def idle(self) -> int:
        """How many connections are idle."""
        return len(self.unused) + len(self._resting)

    def place(self, deadline: float) -> Permit:
        """Wait for a place.

        Raises:
            PoolExhaustedError: None became free by *deadline*.
        """
        if self.process != os.getpid():
            self.after_fork()
        free = self.places.free
        try:
            return free.get_nowait()
        except queue.Empty:
            remaining = deadline - self._monotonic()
        try:
            return free.get(timeout=max(remaining, 0.0))
        except queue.Empty:
            reason = "not asked: no connection became free before the deadline"
            raise PoolExhaustedError(self._node, reason) from None

    def take(self) -> Connection | None:
        """Return an idle connection, if there is one."""
        for idle in (self.unused, self._resting):
            while idle:
                try:
                    connection = idle.pop()
                except IndexError:
                    # Another thread was faster.
                    break
                if connection.number > self.retired:
                    return connection
                connection.close()
        return None

    def take_older(self, horizon: int) -> Connection | None:
        """Return an idle connection that was open when *horizon* was the youngest."""
        younger: list[Connection] = []
        try:
            while (connection := self.take()) is not None:
                if connection.number <= horizon:
                    return connection
                younger.append(connection)
            return None
        finally:
            self.unused.extendleft(younger)

    def adopt(self, connection: Connection) -> None:
        """Number *connection*, which is open by now."""
        connection.number = next(self._numbers)
        self.youngest = max(self.youngest, connection.number)

    def give(self, connection: Connection, place: Permit) -> None:
        """Take both back, for others to use: the last reply was read to its end."""
        if connection.process != self.process:
            # Of before a fork.
            connection.close()
            return
        self.unused.append(connection)
        self.places.free.put(place)

    def retire(self, number: int) -> None:
        """Close connections up to *number*; those in use are closed before their next use."""
        self.retired = max(self.retired, number)
        for idle in (self.unused, self._resting):
            for connection in idle.copy():
                if connection.number <= self.retired:
                    try:
                        idle.remove(connection)
                    except ValueError:
                        # Taken meanwhile.
                        continue
                    connection.close()

    def rest(self) -> None:
        """Close connections that were not used since this was called last, but for one."""
        # What is used comes back to the unused ones: to find out costs requests nothing.
        while self._resting and self.idle > 1:
            try:
                self._resting.popleft().close()
            except IndexError:
                break
        while len(self.unused) > 1:
            try:
                self._resting.append(self.unused.popleft())
            except IndexError:
                break

    def close(self) -> None:
        """Close the idle connections."""
        while (connection := self.take()) is not None:
            connection.close()

    def after_fork(self) -> None:
        """Start anew: connections and places are the parent's."""
        self._start()
        close_inherited()


_pools: weakref.WeakSet[Pool] = weakref.WeakSet()


def _after_fork() -> None:
    for pool in list(_pools):
        pool.after_fork()


os.register_at_fork(after_in_child=_after_fork)
