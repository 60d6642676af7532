"""Objects of sessions that only this process can hold, because they cannot be serialized."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from flask_msm.process.locks import ProcessLock


if TYPE_CHECKING:
    from flask_msm.process.clock import Clock


#: Most sessions with such objects, and most of these objects in one session.
MAX_SESSIONS = 1000
MAX_OBJECTS = 100
#: Longest time in seconds they outlive the last request of their session.
MAX_IDLE = 24 * 3600.0


class Kept(NamedTuple):
    """A live object.

    Attributes:
        value: The object.
        base: What was stored under its name then, encoded; ``None`` for nothing. When something
            else is stored later, that is newer than the object.
        digest: Of the object encoded, if that only takes too much room.
    """

    value: Any
    base: bytes | None
    digest: bytes | None = None


class _Shelf(NamedTuple):
    """The objects of one session.

    *early*: the session may still be there *until* then (monotonic, seconds).
    """

    objects: dict[Any, Kept]
    until: float
    early: bool


class LiveObjects:
    """Keeps them by storage key; the least recently used session goes first.

    Parallel requests of a session get the same objects, so these must be thread-safe. It does not
    matter which of two requests puts its objects last.

    Attributes:
        dropped: How many objects went although their session may still be there: there were too
            many, or it was idle for too long.
    """

    def __init__(self, clock: Clock, *, limit: int = MAX_SESSIONS) -> None:
        self.dropped = 0
        self._clock = clock
        self._limit = limit
        self._lock = ProcessLock()
        self._pid = os.getpid()
        self._shelves: OrderedDict[str, _Shelf] = OrderedDict()

    def __len__(self) -> int:
        """Return the number of sessions."""
        return len(self._shelves)

    def get(self, key: str, *, life: float) -> Mapping[Any, Kept]:
        """Return the objects of the session *key* by name; from now on they stay *life* seconds."""
        return self.update(key, {}, (), life=life)

    def update(
        self, key: str, kept: Mapping[Any, Kept], gone: Iterable[Any], *, life: float
    ) -> Mapping[Any, Kept]:
        """Keep *kept* for *life* seconds without a request, and forget the names *gone*.

        Returns:
            What is kept of the session now.
        """
        now = self._clock.monotonic()
        # Released outside of the lock: an object may run code of the application when it goes.
        old: list[_Shelf] = []
        with self._lock:
            self._sweep(now, old)
            shelf = self._shelves.pop(key, None)
            objects = {**shelf.objects, **kept} if shelf else dict(kept)
            for name in gone:
                objects.pop(name, None)
            for name in list(objects)[MAX_OBJECTS:]:
                del objects[name]
                self.dropped += 1
            if shelf:
                old.append(shelf)
            if objects:
                self._shelves[key] = _Shelf(objects, now + min(life, MAX_IDLE), life > MAX_IDLE)
            while len(self._shelves) > self._limit:
                self._pop_first(old, lost=True)
        return objects

    def discard(self, key: str) -> None:
        """Forget the session *key*."""
        with self._lock:
            old = self._shelves.pop(key, None)
        del old

    def _sweep(self, now: float, old: list[_Shelf]) -> None:
        if self._pid != os.getpid():
            # The objects belong to the parent process: locks, connections, threads.
            self._pid = os.getpid()
            old.extend(self._shelves.values())
            self._shelves.clear()
        while self._shelves and (first := next(iter(self._shelves.values()))).until < now:
            self._pop_first(old, lost=first.early)

    def _pop_first(self, old: list[_Shelf], *, lost: bool) -> None:
        _, shelf = self._shelves.popitem(last=False)
        self.dropped += lost * len(shelf.objects)
        old.append(shelf)
