"""The memcached processes that are measured, and what they count."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from harness.memcached import Memcached


if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

#: With as many threads as it has by default.
OPTIONS = ("-m", "64", "-t", "4")
#: Statistics that count operations; ``cmd_set`` counts ``add`` and ``cas`` as well.
COUNTED = {"cmd_get": "get", "cmd_set": "store", "cmd_touch": "touch"}


class MemcachedError(Exception):
    """There is no memcached, or it does not start; the text is for the user."""


@contextmanager
def running(
    count: int, certificate: Path | None = None, options: Sequence[str] = OPTIONS
) -> Iterator[list[Memcached]]:
    """Start *count* nodes, which speak TLS with a *certificate*, and end them in any case.

    Raises:
        MemcachedError: There is no memcached, or it does not start.
    """
    with ExitStack() as started:
        try:
            nodes = [
                started.enter_context(Memcached(*options, certificate=certificate))
                for _ in range(count)
            ]
        except AssertionError as error:
            raise MemcachedError(str(error)) from error
        yield nodes


def operations(nodes: Sequence[Memcached]) -> dict[str, int]:
    """Return how many operations of each kind *nodes* have seen in all."""
    seen = [node.stats() for node in nodes]
    return {kind: sum(int(stats[name]) for stats in seen) for name, kind in COUNTED.items()}


def memory() -> str | None:
    """Return a folder in memory, where local storage is kept by default as well."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108
