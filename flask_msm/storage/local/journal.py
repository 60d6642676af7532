"""Which sessions of local storage are nowhere else; cachelib cannot list its keys.

The journal may name a session that is not dirty (a process died between two steps), never the
other way round: a mark is set before the session is written and removed after it was handed over.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from flask_msm.record.keys import is_digest
from flask_msm.storage.store import LocalStorageError

from .bell import Bell


if TYPE_CHECKING:
    from pathlib import Path


#: More marks are not listed by a request.
MANY = 200


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


class FileJournal:
    """One empty file for each session: any worker of the host hands over what a dead one left.

    Which ones there are is read anew when a worker has set a mark, and rings; and with each tick,
    for a worker of an earlier version does not ring, and files of old age may be removed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)
        self._bell = Bell(folder.with_name("marked"))
        #: The number of the bell, and what was marked when it was read; replaced as a whole.
        self._seen: tuple[int, frozenset[str]] | None = None

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
        if seen is None or seen[0] != number[0]:
            if seen is not None and len(seen[1]) > MANY:
                return digest in self  # after an outage; with the next tick they are listed anew
            seen = self._look(number)
        # Marks that were removed since are not looked for.
        return digest in seen[1] and digest in self

    def digests(self) -> list[str]:
        """Return all marked sessions; none when the folder cannot be read."""
        self._bell.hang()
        number = self._bell.number
        names = self._names() if number is None else self._look(number)[1]
        return [name for name in names if is_digest(name)]

    def _look(self, number: memoryview) -> tuple[int, frozenset[str]]:
        # The number first: a mark that is set after it rings once more.
        self._seen = seen = number[0], frozenset(self._names())
        return seen

    def _names(self) -> list[str]:
        try:
            return os.listdir(self._folder)
        except OSError:
            return []
