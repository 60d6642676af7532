"""The right to rebuild or drain one node: one worker at a time has it, kept on another node.

It is renewed by time, not by progress: listing and grouping a million keys takes longer than a
lease is valid.
"""

from __future__ import annotations

import secrets
import threading
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING

from flask_msm.errors import NodeError


if TYPE_CHECKING:
    from collections.abc import Iterator

    from flask_msm.memcached.client import MemcachedNode
    from flask_msm.memcached.protocol import CasToken
    from flask_msm.process.clock import Clock


#: Time in seconds a lease is valid, and after which it is renewed.
LEASE, RENEW = 15, 5.0


class LeaseLostError(Exception):
    """Another worker does it, or this worker was too slow."""

    def __init__(self) -> None:
        super().__init__("this worker did not keep the lease; the next tick of a worker goes on")


@dataclass(eq=False)
class Lease:
    """The right to rebuild one node.

    Args:
        node: Keeps it.
        key: Its storage key.
        clock: Measures how long it is valid.
        timeout: Time in seconds one operation may take.
    """

    node: MemcachedNode
    key: str
    _: KW_ONLY
    clock: Clock
    timeout: float

    def __post_init__(self) -> None:
        self._owner = secrets.token_hex(8).encode()
        self._valid_until = 0.0

    def acquire(self) -> bool:
        """Return whether this worker has it now."""
        now = self.clock.monotonic()
        added = self.node.start_add(self.key, self._owner, LEASE, self._deadline()).result()
        if added:
            self._valid_until = now + LEASE
        return added

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Renew it from time to time, by a thread, while the block runs."""
        over = threading.Event()
        keeper = threading.Thread(
            target=self._keep, args=(over,), name="flask_msm-lease", daemon=True
        )
        keeper.start()
        try:
            yield
        finally:
            over.set()
            keeper.join()

    def check(self) -> None:
        """Return if this worker has it still.

        Raises:
            LeaseLostError: It is not this worker's any more.
        """
        if self.clock.monotonic() >= self._valid_until:
            raise LeaseLostError

    def renew(self) -> None:
        """Keep it for as long as it was taken for; what does not arrive is tried again later."""
        now = self.clock.monotonic()
        try:
            token = self._mine()
            renewed = token is not None and self._replace(token, LEASE)
        except NodeError:
            return
        self._valid_until = now + LEASE if renewed else 0.0

    def release(self) -> None:
        """Give it back; an unreachable node forgets it by itself."""
        try:
            token = self._mine()
            if token is not None:
                self._replace(token, 1)
        except NodeError:
            return

    def _keep(self, over: threading.Event) -> None:
        while self._valid_until and not over.wait(RENEW):
            self.renew()

    def _mine(self) -> CasToken | None:
        item = self.node.start_gets(self.key, self._deadline()).result()
        return item.token if item is not None and item.value == self._owner else None

    def _replace(self, token: CasToken, ttl: int) -> bool:
        exchange = self.node.start_cas(self.key, self._owner, ttl, token, self._deadline())
        return bool(exchange.result())

    def _deadline(self) -> float:
        return self.clock.monotonic() + self.timeout
