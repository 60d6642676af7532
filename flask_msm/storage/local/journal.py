"""Which sessions of local storage are nowhere else; cachelib cannot list its keys.

The journal may name a session that is not dirty (a process died between two steps), never the
other way round: a mark is set before the session is written and removed after it was handed over.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple, Protocol

from flask_msm.record.keys import is_digest
from flask_msm.storage.store import LocalStorageError

from .bell import Bell
from .folder_stamp import settled_stamp


if TYPE_CHECKING:
    from collections.abc import Container
    from pathlib import Path


#: More marks are not listed by a request.
MANY = 200
#: While marks come and go they are counted again after so many seconds for each of them: of 50,000
#: the number is ten seconds old at most, and counting takes a hundredth of the time.
REST = 0.0002


class Journal(Protocol):
    """A set of hashes of storage keys."""

    def add(self, digest: str) -> None:
        """Put a mark on a session."""
        ...

    def discard(self, digest: str) -> None:
        """Remove its mark, if it has one."""
        ...

    def __contains__(self, digest: object) -> bool:
        """Return whether a session is marked."""
        ...

    def may_contain(self, digest: str) -> bool:
        """Return ``False`` if a session is not marked; what may be is told by ``in``."""
        ...

    def digests(self) -> list[str]:
        """Return all marked sessions."""
        ...

    def marked(self) -> Container[str]:
        """Return what answers for all sessions whether they are marked now."""
        ...

    def count(self) -> int:
        """Return how many are marked: 0 if none is, and of many about how many."""
        ...


class MemoryJournal:
    """For local storage that ends with its process."""

    def __init__(self) -> None:
        self._marked: dict[str, None] = {}

    def add(self, digest: str) -> None:
        """Put a mark on a session."""
        self._marked[digest] = None

    def discard(self, digest: str) -> None:
        """Remove its mark, if it has one."""
        self._marked.pop(digest, None)

    def __contains__(self, digest: object) -> bool:
        """Return whether a session is marked."""
        return digest in self._marked

    def may_contain(self, digest: str) -> bool:
        """Return whether a session is marked."""
        return digest in self._marked

    def digests(self) -> list[str]:
        """Return all marked sessions."""
        return list(self._marked)

    def marked(self) -> Container[str]:
        """Return all marked sessions."""
        return frozenset(self._marked)

    def count(self) -> int:
        """Return how many are marked."""
        return len(self._marked)


class _Listed(NamedTuple):
    """The folder as it was listed.

    *number* is that of the bell before, ``None`` if names may be missing since; *stamp* see
    ``settled_stamp``; *at* is monotonic time in seconds.
    """

    number: int | None
    names: frozenset[str]
    marks: int
    stamp: tuple[int, int] | None
    at: float


class FileJournal:
    """One empty file for each session: any worker of the host hands over what a dead one left.

    Which ones there are is read anew when a worker has set a mark, and rings; and with a tick that
    finds the folder changed, for a worker of an earlier version does not ring, and files of old age
    may be removed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)
        self._bell = Bell(folder.with_name("marked"))
        #: What was marked when it was read; replaced as a whole.
        self._seen: _Listed | None = None

    def add(self, digest: str) -> None:
        """Put a mark on a session."""
        path = os.path.join(self._folder, digest)
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
            # Not before: who hears it looks which files there are.
            self._bell.ring()
        except OSError as error:
            raise LocalStorageError(os.strerror(error.errno or 0)) from None

    def discard(self, digest: str) -> None:
        """Remove its mark, if it has one."""
        with suppress(OSError):
            os.unlink(os.path.join(self._folder, digest))

    def __contains__(self, digest: object) -> bool:
        """Return whether a session is marked."""
        try:
            os.stat(f"{self._folder}/{digest}")
        except (OSError, ValueError):
            return False
        return True

    def may_contain(self, digest: str) -> bool:
        """Return ``False`` if a session is not marked; as a rule without a system call."""
        number, seen = self._bell.number, self._seen
        if number is None:
            return digest in self
        if seen is None or seen.number != number[0]:
            if seen is not None and len(seen.names) > MANY:
                return digest in self  # after an outage; when they are counted they are listed
            seen = self._look(number)
        # Marks that were removed since are not looked for.
        return digest in seen.names and digest in self

    def digests(self) -> list[str]:
        """Return all marked sessions; none when the folder cannot be read."""
        self._bell.hang()
        return [name for name in self._look(self._bell.number).names if is_digest(name)]

    def marked(self) -> Container[str]:
        """Return all marked sessions."""
        return self._look(self._bell.number).names

    def count(self) -> int:
        """Return how many are marked: 0 if none is, and of many about how many."""
        self._bell.hang()
        bell, seen = self._bell.number, self._seen
        number = None if bell is None else bell[0]
        if seen is not None:
            stamp = settled_stamp(self._folder)
            if stamp is not None and stamp == seen.stamp:
                self._seen = seen._replace(number=number)
                return seen.marks
            rest = seen.marks * REST if seen.marks > MANY else 0.0
            if time.monotonic() - seen.at < rest and self._any():
                self._seen = seen._replace(number=None)
                return seen.marks
        return self._look(bell).marks

    def _look(self, bell: memoryview | None) -> _Listed:
        # The number first: a mark that is set after it rings once more.
        number, stamp = None if bell is None else bell[0], settled_stamp(self._folder)
        names = frozenset(self._names())
        marks = sum(map(is_digest, names))
        self._seen = seen = _Listed(number, names, marks, stamp, time.monotonic())
        return seen

    def _any(self) -> bool:
        try:
            with os.scandir(self._folder) as entries:
                return any(is_digest(entry.name) for entry in entries)
        except OSError:
            return False

    def _names(self) -> list[str]:
        try:
            return os.listdir(self._folder)
        except OSError:
            return []
