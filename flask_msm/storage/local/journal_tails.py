"""The journals of all workers of this host, read as far as they were not read before."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from flask_msm.process.locks import ProcessLock

from .folder_stamp import settled_stamp
from .journal_frames import Place, scan
from .worker_journal import SUFFIX


if TYPE_CHECKING:
    from pathlib import Path


class _Tail:
    """A journal, and how far it was read.

    *places*: the last record of each session by the hash in its storage key.
    """

    __slots__ = ("end", "file", "places")

    def __init__(self, file: int) -> None:
        self.file = file
        self.end = 0
        self.places: dict[str, Place] = {}

    def read_on(self) -> None:
        more = os.fstat(self.file).st_size - self.end
        if more > 0:
            found = scan(os.pread(self.file, more, self.end))
            for digest, place in found.places:
                self.places[digest] = Place(self.end + place.at, place.size)
            self.end += found.end


class JournalTails:
    """What workers of this host acknowledged, and may not have handed over yet."""

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)
        self._tails: dict[int, _Tail] = {}
        #: Of the folder when it was listed; ``None`` if it is to be listed anew.
        self._stamp: tuple[int, int] | None = None
        self._lock = ProcessLock()
        self._pid = os.getpid()

    def find(self, digest: str) -> list[bytes]:
        """Return the last sealed record of a session in each journal, not verified.

        What a worker appends holds all that it appended of that session before.
        """
        with self._lock:
            self._look()
            return [
                os.pread(tail.file, place.size, place.at)
                for tail in self._tails.values()
                if (place := tail.places.get(digest)) is not None
            ]

    def all_of(self, digest: str) -> list[bytes]:
        """Return all sealed records of a session, for when the last one is damaged."""
        with self._lock:
            self._look()
            found = []
            for tail in self._tails.values():
                data = os.pread(tail.file, tail.end, 0)
                found += [
                    data[place.at : place.at + place.size]
                    for other, place in scan(data, final=True).places
                    if other == digest
                ]
            return found

    def _look(self) -> None:
        """See which journals there are, and read what is new in them."""
        if self._pid != os.getpid():
            # Half of a look may have been under way in another thread of the parent.
            inherited, self._tails, self._pid = self._tails, {}, os.getpid()
            self._stamp = None
            for tail in inherited.values():
                os.close(tail.file)
        stamp = settled_stamp(self._folder)
        if stamp is None or stamp != self._stamp:
            self._stamp = stamp if self._list() else None
        for tail in self._tails.values():
            with suppress(OSError):
                tail.read_on()

    def _list(self) -> bool:
        """Open new journals, close those that are gone; return whether that could be done."""
        try:
            with os.scandir(self._folder) as entries:
                found = sorted((e.path, e.inode()) for e in entries if e.name.endswith(SUFFIX))
            whole = True
        except OSError:
            found, whole = [], False
        there = {inode: path for path, inode in found}
        for inode in self._tails.keys() - there.keys():
            os.close(self._tails.pop(inode).file)
        for inode, path in there.items():
            try:
                if inode not in self._tails:
                    self._tails[inode] = _Tail(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
            except OSError:
                whole = False
        return whole
