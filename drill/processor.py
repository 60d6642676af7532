"""How long a request had to wait for a processor, on a machine that does other things as well."""

from __future__ import annotations

import os
import threading
from contextlib import suppress


_TASKS = "/proc/self/task"


class Starvation:
    """How long each thread of this process was ready to run and had to wait; safe for threads.

    Other threads count as well: a thread that waits for a lock of another (or the interpreter's)
    waits while that thread waits for a processor.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._files: dict[str, int] = {}

    def so_far(self) -> dict[str, float]:
        """Return seconds by thread; empty where the kernel does not provide them."""
        with self._lock, suppress(OSError):
            names = os.listdir(_TASKS)  # noqa: PTH208  (many times a second)
            for gone in self._files.keys() - set(names):
                os.close(self._files.pop(gone))
            return {name: self._waited(name) for name in names}
        return {}

    def since(self, before: dict[str, float]) -> float:
        """Return the longest any thread has waited since *before*, in seconds."""
        return max(
            (waited - before.get(name, waited) for name, waited in self.so_far().items()),
            default=0.0,
        )

    def _waited(self, name: str) -> float:
        with suppress(OSError, ValueError, IndexError):
            if name not in self._files:
                self._files[name] = os.open(f"{_TASKS}/{name}/schedstat", os.O_RDONLY)
            return int(os.pread(self._files[name], 100, 0).split()[1]) / 1e9
        return 0.0
