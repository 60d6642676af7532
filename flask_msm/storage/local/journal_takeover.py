"""The journals of workers that are no more: what is in them goes on as if those had lived on.

A worker holds the lock of its journals as long as it lives. So the one that gets the lock takes a
journal over: no other one gets it meanwhile, and when the journal is removed with the lock still
held, none that waited for the lock finds anything. If that one dies in the middle, the next takes
over all of it again, which changes nothing: all is joined.
"""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import suppress
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from .journal_frames import scan
from .worker_journal import SUFFIX, UNFINISHED


if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


#: A worker that handed nothing over for so long is stopped, seconds: others hand over what is in
#: its journal, and leave that where it is.
STOPPED = 10.0
#: Time in seconds for which others may read what is signed with keys that are not known here.
FOREIGN = 24 * 3600.0


class Joined(Enum):
    """What became of a record from a journal."""

    DONE = "it is in local storage"
    DAMAGED = "it cannot be used"
    FOREIGN = "only others can read it"
    FAILED = "local storage does not take it"


class TakenOver(NamedTuple):
    """What was found in journals that their workers do not hand over.

    Attributes:
        journals: How many were removed.
        records: How many records of theirs are in local storage now.
        damaged: How many places or records were damaged.
        foreign: How many records were given up that only others could read.
    """

    journals: int = 0
    records: int = 0
    damaged: int = 0
    foreign: int = 0


class Takeover:
    """Looks for journals of dead and stopped workers.

    Args:
        folder: Where the journals of this host are.
        join: Joins a sealed record into local storage; gets the hash in its storage key.
    """

    def __init__(self, folder: Path, join: Callable[[str, bytes], Joined]) -> None:
        self._folder = folder
        self._join = join
        #: Size in bytes, by inode, of journals whose worker is stopped, as they were joined last.
        self._seen: dict[int, int] = {}

    def names(self) -> list[str]:
        """Return the names of all journals; as a rule there is none when no session changes."""
        try:
            names = os.listdir(self._folder)
        except OSError:
            return []
        return sorted(name for name in names if name.endswith((SUFFIX, UNFINISHED)))

    def run(self) -> TakenOver:
        """Join what the dead left, and what the stopped keep, into local storage."""
        total = TakenOver()
        seen, self._seen = self._seen, {}
        for name in self.names():
            path = self._folder / name
            try:
                file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            except OSError:
                continue
            try:
                one = self._look(file, path, seen)
            except OSError:
                continue
            finally:
                os.close(file)
            total = TakenOver(*(a + b for a, b in zip(total, one, strict=True)))
        return total

    def _look(self, file: int, path: Path, seen: dict[int, int]) -> TakenOver:
        found = os.fstat(file)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            age = time.time() - found.st_mtime
            is_stopped = found.st_size and path.suffix == SUFFIX and age > STOPPED
            if not is_stopped:
                return TakenOver()
            done = TakenOver()
            if seen.get(found.st_ino) != found.st_size:
                done, whole = self._join_all(file, age)
                if not whole:
                    return done
            self._seen[found.st_ino] = found.st_size
            return done._replace(damaged=0, foreign=0)
        if os.fstat(file).st_nlink == 0:
            return TakenOver()  # another one was faster
        done, whole = self._join_all(file, time.time() - found.st_mtime)
        if not whole:
            return TakenOver(records=done.records)
        with suppress(FileNotFoundError):
            path.unlink()
        return done._replace(journals=int(path.suffix == SUFFIX))

    def _join_all(self, file: int, age: float) -> tuple[TakenOver, bool]:
        """Join all records of a journal; return what was found and whether nothing is left."""
        data = os.pread(file, os.fstat(file).st_size, 0)
        scanned = scan(data, final=True)
        counts = dict.fromkeys(Joined, 0)
        for digest, place in scanned.places:
            joined = self._join(digest, data[place.at : place.at + place.size])
            counts[joined] += 1
            if joined is Joined.FAILED:
                break
        foreign = counts[Joined.FOREIGN]
        whole = not counts[Joined.FAILED] and (not foreign or age > FOREIGN)
        damaged = scanned.damaged + counts[Joined.DAMAGED]
        return TakenOver(0, counts[Joined.DONE], damaged, foreign), whole
