"""Copies of recent sessions on this host, made behind the response."""

from __future__ import annotations

from collections import OrderedDict
from functools import partial
from typing import TYPE_CHECKING

from flask_msm.locks import ProcessLock


if TYPE_CHECKING:
    from flask_msm.record.keys import Keyring
    from flask_msm.record.record import Record

    from .background import Background
    from .local import LocalStore


#: So many sessions are remembered as mirrored already; one more look at a forgotten one is cheap.
REMEMBERED = 4096


class Mirror:
    """Sees to it that local storage has what the cluster was seen to hold.

    Args:
        local: Local storage.
        background: Does the work.

    Attributes:
        dropped: How many copies were not made because too many were waiting.
    """

    def __init__(self, local: LocalStore, background: Background) -> None:
        self.dropped = 0
        self._local = local
        self._background = background
        self._lock = ProcessLock()
        #: Version and renewal of what was mirrored last, by storage key.
        self._recent: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def note(self, key: str, keys: Keyring, record: Record, *, anew: bool = False) -> None:
        """Take note that the cluster holds *record*.

        Args:
            key: Storage key.
            keys: Seal it.
            record: What the cluster holds.
            anew: Also when this version was mirrored before: that the cluster was asked counts.
        """
        seen = record.version, record.renewed
        if self._recent.get(key) == seen and not anew:
            return
        if not self._background.put(partial(self._work, key, keys, record)):
            self.dropped += 1
            return
        with self._lock:
            self._recent[key] = seen
            if len(self._recent) > REMEMBERED:
                self._recent.popitem(last=False)

    def forget(self) -> None:
        """Mirror everything anew: local storage was emptied."""
        with self._lock:
            self._recent.clear()

    def _work(self, key: str, keys: Keyring, record: Record, _: float) -> None:
        self._local.confirm(key, keys, record)
        if self._local.is_trim_due():
            self._local.trim(keys)
