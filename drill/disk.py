"""A disk that can be made full."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self


#: Bytes of a small disk: more than sessions of the drill take, also those of ten minutes of a soak.
_SIZE = 128 << 20
_BALLAST = b"\0" * 65536


class SmallDisk:
    """A small file system at *folder*, where we have the right to mount one; a context manager.

    Where we have not, processes are forbidden to write to files, which is much the same to them.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._umount: str | None = None

    def __enter__(self) -> Self:
        mount, umount = shutil.which("mount"), shutil.which("umount")
        if mount and umount:
            options = ["-t", "tmpfs", "-o", f"size={_SIZE},mode=0700", "tmpfs", str(self._folder)]
            done = subprocess.run([mount, *options], check=False, capture_output=True)
            self._umount = umount if done.returncode == 0 else None
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._umount:
            subprocess.run([self._umount, "-l", str(self._folder)], check=True)

    @property
    def how(self) -> str:
        """How it is made full, in words."""
        return "a small tmpfs, filled" if self._umount else "RLIMIT_FSIZE of its workers is 0"

    @contextmanager
    def full(self, pids: Sequence[int]) -> Iterator[None]:
        """Leave no room on it while the block runs.

        Args:
            pids: Process ids of those who use it.
        """
        if not self._umount:
            with _forbidden(pids):
                yield
            return
        ballast = self._folder / "ballast"
        try:
            descriptor = os.open(ballast, os.O_WRONLY | os.O_CREAT, 0o600)
            with suppress(OSError):
                while os.write(descriptor, _BALLAST):
                    pass
            os.close(descriptor)
            yield
        finally:
            ballast.unlink()


@contextmanager
def _forbidden(pids: Sequence[int]) -> Iterator[None]:
    before = {pid: resource.prlimit(pid, resource.RLIMIT_FSIZE) for pid in pids}
    try:
        for pid, (_, most) in before.items():
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, most))
        yield
    finally:
        for pid, limits in before.items():
            with suppress(ProcessLookupError):
                resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)
