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


if TYPE_CHECKING:
    from pathlib import Path


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

    def digests(self) -> list[str]:
        """Return all marked sessions."""
        return list(self._marked)


class FileJournal:
    """One empty file for each session: any worker of the host hands over what a dead one left."""

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)

    def add(self, digest: str) -> None:
        """Put a mark on a session."""
        path = os.path.join(self._folder, digest)
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
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

    def digests(self) -> list[str]:
        """Return all marked sessions; none when the folder cannot be read."""
        try:
            names = os.listdir(self._folder)
        except OSError:
            return []
        return [name for name in names if is_digest(name)]
