"""A bounded pool of connections that loses no place, whatever interrupts its users."""

from __future__ import annotations

import os
import queue
import threading
import weakref
from typing import TYPE_CHECKING

from .failures import PoolExhaustedError


if TYPE_CHECKING:
    from collections.abc import Callable

    from .connection import Connection


class Places:
    """The free places of a pool.

    A ``SimpleQueue``: it may be put to from a destructor, whatever its thread is doing.
    """

    __slots__ = ("__weakref__", "free")

    def __init__(self, size: int) -> None:
        self.free: queue.SimpleQueue[Place] = queue.SimpleQueue()
        home = weakref.ref(self)
        for _ in range(size):
            self.free.put(Place(home))


class Place:
    """The right to one connection. It is given back, or gives itself back when it is dropped."""

    __slots__ = ("_home",)

    def __init__(self, home: weakref.ref[Places]) -> None:
        # Weak: the places of a pool that is gone go with it.
        self._home = home

    def __del__(self) -> None:
        home = self._home()
        if home is not None:
            home.free.put(Place(self._home))

    def give_back(self) -> None:
        """Let somebody else have it; the caller forgets it first."""
        home = self._home()
        if home is not None:
            home.free.put(self)


class Pool:
    """The connections of one node: at most *size*, the last one used is used next.

    Who wants a connection waits for a place first, then takes an idle connection or opens one.
    As long as a place is held over a retry, there are never more connections than places.

    ``youngest`` is read without the lock; an old value only makes a ``cas`` more careful.

    Attributes:
        youngest: Number of the connection opened last.
    """

    def __init__(self, node: str, size: int, monotonic: Callable[[], float]) -> None:
        self._node = node
        self._size = size
        self._monotonic = monotonic
        self.youngest = 0
        self._start()
        _pools.add(self)

    def _start(self) -> None:
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._places = Places(self._size)
        self._idle: list[Connection] = []
        self._all: weakref.WeakSet[Connection] = weakref.WeakSet()
        self._retired = 0

    @property
    def free(self) -> int:
        """How many places are free."""
        return self._places.free.qsize()

    @property
    def idle(self) -> int:
        """How many connections are idle."""
        return len(self._idle)

    def place(self, deadline: float) -> Place:
        """Wait for a place.

        Raises:
            PoolExhaustedError: None became free by *deadline*.
        """
        if self._process != os.getpid():
            self.after_fork()
        places = self._places.free
        try:
            return places.get_nowait()
        except queue.Empty:
            pass
        remaining = deadline - self._monotonic()
        try:
            return places.get(timeout=max(remaining, 0.0))
        except queue.Empty:
            reason = "not asked: no connection became free before the deadline"
            raise PoolExhaustedError(self._node, reason) from None

    def take(self, horizon: int | None = None) -> Connection | None:
        """Return an idle connection, if there is one; not one younger than *horizon*."""
        with self._lock:
            idle = self._idle
            if horizon is None:
                return idle.pop() if idle else None
            for index in range(len(idle) - 1, -1, -1):
                if idle[index].number <= horizon:
                    return idle.pop(index)
            return None

    def adopt(self, connection: Connection) -> None:
        """Number *connection*, which is open by now, and know it from here on."""
        with self._lock:
            self.youngest += 1
            connection.number = self.youngest
            self._all.add(connection)

    def give(self, connection: Connection) -> None:
        """Take *connection* back, for others to use: its last reply was read to the end."""
        with self._lock:
            if connection.process == self._process and connection.number > self._retired:
                self._idle.append(connection)
                return
        connection.close()

    def retire(self, number: int) -> None:
        """Close all connections up to *number* as soon as nobody uses them."""
        with self._lock:
            self._retired = max(self._retired, number)
            retired = [entry for entry in self._idle if entry.number <= self._retired]
            self._idle = [entry for entry in self._idle if entry.number > self._retired]
        for connection in retired:
            connection.close()

    def close(self) -> None:
        """Close the idle connections."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def after_fork(self) -> None:
        """Let go of what belongs to the parent: close its descriptors here, say nothing."""
        inherited = list(self._all)
        self._start()
        for connection in inherited:
            connection.close()


_pools: weakref.WeakSet[Pool] = weakref.WeakSet()


def _after_fork() -> None:
    for pool in list(_pools):
        pool.after_fork()


os.register_at_fork(after_in_child=_after_fork)
