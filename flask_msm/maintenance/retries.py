"""Single writes that did not reach a node, tried again before the node loses its trust.

Otherwise a node that is slow for a second would be rebuilt whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask_msm.process.locks import ProcessLock


if TYPE_CHECKING:
    from collections.abc import Callable

    from flask_msm.process.clock import Clock


#: More writes than this past one node are not single ones any more.
LIMIT = 500


class RetryQueue:
    """Keys whose copy on a node is not confirmed.

    Args:
        patience: Time in seconds until a repair is given up.
    """

    def __init__(self, *, clock: Clock, patience: float) -> None:
        self._clock = clock
        self._patience = patience
        self._lock = ProcessLock()
        self._waiting: dict[str, dict[str, float]] = {}

    def add(self, node_id: str, key: str) -> bool:
        """Take note that *key* was written past the node; ``False`` gives the node up."""
        with self._lock:
            keys = self._waiting.setdefault(node_id, {})
            if len(keys) >= LIMIT:
                del self._waiting[node_id]
                return False
            keys.setdefault(key, self._clock.monotonic())
            return True

    def drop(self, node_id: str) -> None:
        """Forget what is waiting for the node: it will be rebuilt whole."""
        with self._lock:
            self._waiting.pop(node_id, None)

    def nodes(self) -> list[str]:
        """Return the nodes that something waits for."""
        with self._lock:
            return [node_id for node_id, keys in self._waiting.items() if keys]

    def __len__(self) -> int:
        return sum(len(keys) for keys in list(self._waiting.values()))

    def run(self, rejoin: Callable[[str], frozenset[str]], until: float | None = None) -> list[str]:
        """Try everything that waits once; return the nodes that could not be repaired in time.

        That takes no longer than a repair is waited for: nodes that are slow hold up no tick.

        Args:
            rejoin: Brings all copies of a key together; returns the nodes that confirmed theirs.
            until: When it has to be over before that, monotonic time in seconds; what was not
                tried by then waits for the next time.
        """
        end = self._clock.monotonic() + self._patience
        with self._lock:
            todo = [
                (node_id, key, since)
                for node_id, keys in self._waiting.items()
                for key, since in keys.items()
            ]
        given_up: dict[str, None] = {}
        for node_id, key, since in todo:
            if until is not None and self._clock.monotonic() >= until:
                break
            if node_id in given_up or key not in self._waiting.get(node_id, ()):
                continue  # the node is given up, by this run or since it began
            if self._clock.monotonic() < end and node_id in rejoin(key):
                with self._lock:
                    self._waiting.get(node_id, {}).pop(key, None)
            elif self._clock.monotonic() - since >= self._patience:
                given_up[node_id] = None
        for node_id in given_up:
            self.drop(node_id)
        return list(given_up)
