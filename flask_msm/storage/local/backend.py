"""Where local storage keeps things: a folder of this host, this process, or a cache of the user."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from flask_msm.process.locks import ProcessLock
from flask_msm.storage.store import LocalStorageError

from .cache import Limits, RecordCache
from .change_marks import ChangeMarks
from .copy_sign import CopySign
from .file_cache import FileCache, Marks
from .files import is_private, memory_cache
from .folder import Folder, default_size, make_again, open_folder
from .journal import FileJournal, Journal, MemoryJournal
from .locks import KeyLocks
from .memory import IndexedCache


if TYPE_CHECKING:
    from collections.abc import Callable, Container, Sequence
    from pathlib import Path

    from flask_msm.process.clock import Clock
    from flask_msm.record.keys import Keyring
    from flask_msm.settings.types import CacheLike


MEMORY_SIZE = 256 * 1024 * 1024


class LocalBackend(NamedTuple):
    """The parts of local storage.

    *kind* is ``filesystem``, ``simple``, or the name of the class of a cache of the user. *changes*
    is the folder of the workers' journals, ``None`` when no other process uses the storage.
    """

    kind: str
    cache: RecordCache
    journal: Journal
    locks: KeyLocks
    limits: Limits
    marks: ChangeMarks
    sign: CopySign
    place: Path | None
    changes: Path | None = None


class BackendOpener:
    """Opens the backend at first use: not in ``init_app``, and never for a command line.

    *alone*: there is no cluster, every session is nowhere else. *size* is in bytes, ``None`` for a
    part of what is free. *marks*: see ``folder.node_marks``.
    """

    def __init__(
        self,
        kind: str | CacheLike,
        *,
        keys: Callable[[], Keyring],
        base: Path | None,
        name: str,
        sessions: int,
        size: int | None,
        clock: Clock,
        alone: bool,
        trouble: Callable[[str | None], object],
        marks: Sequence[str] = (),
    ) -> None:
        #: The backend, ``None`` until it is needed.
        self.opened: LocalBackend | None = None
        #: Whether a folder that is not there is made.
        self.makes = True
        self._kind = kind
        self._keys = keys
        self._base = base
        self._name = name
        self._sessions = sessions
        self._size = size
        self._clock = clock
        self._alone = alone
        self._trouble = trouble
        self._marks = marks
        self._folder: Folder | None = None
        self._lock = ProcessLock()

    def open(self) -> LocalBackend:
        """Return the backend."""
        if self.opened is not None:
            return self.opened
        trouble = None
        with self._lock:
            if self.opened is None:
                try:
                    self.opened = self._open()
                except LocalStorageError as error:
                    trouble = error.reason
                    self.opened = self._in_memory("simple")
        if trouble is not None and self.makes:
            self._trouble(f"{trouble}; sessions are kept in the memory of each process instead")
        return self.opened

    def make_again(self) -> bool:
        """Make what was removed of the folder; return whether anything was."""
        folder = self._folder
        return bool(folder and self.makes and make_again(folder, self._keys(), self._marks))

    def _open(self) -> LocalBackend:
        if self._kind == "simple":
            return self._in_memory("simple")
        if not isinstance(self._kind, str) and is_private(self._kind):
            return self._in_memory(type(self._kind).__name__, self._kind)
        self._folder = folder = open_folder(
            self._base, self._name, self._keys(), make=self.makes, marks=self._marks
        )
        journal = FileJournal(folder.journal)
        locks = KeyLocks(folder.locks)
        limits = Limits(self._sessions, self._size or default_size(folder))
        kind, cache = "filesystem", self._cache(folder, limits, self._dirty(journal), locks)
        if self._kind != kind:
            kind = type(self._kind).__name__
        marks, place = ChangeMarks(folder.changes), folder.sessions.parent
        sign = CopySign(folder.locks)
        return LocalBackend(kind, cache, journal, locks, limits, marks, sign, place, folder.changes)

    def _cache(self, folder: Folder, limits: Limits, dirty: Marks, locks: KeyLocks) -> RecordCache:
        if self._kind == "filesystem":
            return FileCache(folder.sessions, limits, dirty, locks, self._clock)
        assert not isinstance(self._kind, str)  # noqa: S101  (the settings allow no other text)
        return IndexedCache(self._kind, limits, dirty, locks)

    def _in_memory(self, kind: str, cache: CacheLike | None = None) -> LocalBackend:
        journal = MemoryJournal()
        limits = Limits(self._sessions, self._size or MEMORY_SIZE)
        cache = cache or memory_cache(self._sessions)
        locks = KeyLocks()
        indexed = IndexedCache(cache, limits, self._dirty(journal), locks)
        marks, sign = ChangeMarks(None), CopySign(None)
        return LocalBackend(kind, indexed, journal, locks, limits, marks, sign, None)

    def _dirty(self, journal: Journal) -> Marks:
        return _Everything() if self._alone else journal


class _Everything:
    def __contains__(self, _: object) -> bool:
        return True

    def marked(self) -> Container[str]:
        return self
