"""A number in memory that the processes of a host share: to look at it costs no system call."""

from __future__ import annotations

import mmap
import os
from pathlib import Path


_SIZE = 8


class Bell:
    """A number in a small file, which is another one after each ``ring``.

    It is written with a system call, which fails if the disk is full, and read from memory. Where
    files cannot be mapped, or a map does not show what is written, there is no number.

    Attributes:
        number: The number itself, in an array of one; ``None`` if there is none.
    """

    def __init__(self, path: Path) -> None:
        self._path = str(path)
        self._inode = 0
        self.number: memoryview | None = None
        self.hang()

    def ring(self) -> None:
        """Make the number another one, in all processes.

        Raises:
            OSError: That was not possible.
        """
        file = self._open()
        try:
            # A number of chance: of two that ring at a time none may take back what the other did.
            os.pwrite(file, os.urandom(_SIZE), 0)
        finally:
            os.close(file)

    def hang(self) -> None:
        """See to it that the number is that of the file that has the name now."""
        file = -1
        try:
            if self.number is not None and Path(self._path).stat().st_ino == self._inode:
                return
            self.number = None
            # Written before it is mapped: what is not there cannot be read from memory.
            self.ring()
            # For reading only: the disk may be made read-only while it is mapped.
            file = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            number = memoryview(mmap.mmap(file, _SIZE, prot=mmap.PROT_READ))
            before = number.tobytes()
            self.ring()
            if number.tobytes() != before:
                self._inode = os.fstat(file).st_ino
                self.number = number.cast("Q")
        except (OSError, ValueError):
            self.number = None
        finally:
            if file >= 0:
                os.close(file)

    def _open(self) -> int:
        return os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
