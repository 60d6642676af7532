"""Whether a worker has copies to make that other workers of its host may need.

A lock on a file, which is gone with its process, however that ends. It is held for a batch
of copies, not for each: a request that changes a session pays next to nothing for it.
"""

from __future__ import annotations

import fcntl
import os
import struct
from contextlib import suppress
from typing import TYPE_CHECKING

from flask_msm.process.forks import forget_in_children


if TYPE_CHECKING:
    from pathlib import Path


_NAME = "copying"
#: ``struct flock``.
_LOCK = struct.Struct("hhqqi")


class CopySign:
    """The sign of one worker, and those of all others of its host.

    Args:
        folder: Where the file is; ``None`` when no other process uses the storage.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._file = -1
        forget_in_children(self)

    def forget(self) -> None:
        """Show nothing, in a forked child: it has no copies to make."""
        if self._file >= 0:
            os.close(self._file)
        self._file = -1

    def show(self) -> None:
        """Show that this worker has copies to make."""
        self._set(fcntl.F_RDLCK)

    def hide(self) -> None:
        """Show that this worker has none."""
        self._set(fcntl.F_UNLCK)

    def is_shown(self) -> bool:
        """Return whether another worker has copies to make."""
        with suppress(OSError):
            found = self._call(fcntl.F_OFD_GETLK, fcntl.F_WRLCK)
            return bool(found) and _LOCK.unpack_from(found)[0] != fcntl.F_UNLCK
        return False

    def renew(self) -> None:
        """See that this is the file that others use: folders of temporary files are cleaned.

        Copies that are being made then are not shown; those of the next batch are.
        """
        if self._folder is None or self._file < 0:
            return
        with suppress(OSError):
            file = _opened(self._folder)
            try:
                if os.fstat(file).st_ino != os.fstat(self._file).st_ino:
                    # Under the same number: another thread may be about to use it.
                    os.dup2(file, self._file, inheritable=False)
            finally:
                os.close(file)

    def _set(self, kind: int) -> None:
        with suppress(OSError):  # others do not wait, then
            self._call(fcntl.F_OFD_SETLK, kind)

    def _call(self, command: int, kind: int) -> bytes:
        if self._folder is None:
            return b""
        if self._file < 0:
            self._file = _opened(self._folder)
        # Locks to read, of any number of workers: none is ever taken to write.
        return fcntl.fcntl(self._file, command, _LOCK.pack(kind, os.SEEK_SET, 0, 0, 0))


def _opened(folder: Path) -> int:
    return os.open(folder / _NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
