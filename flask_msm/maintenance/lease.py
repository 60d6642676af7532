"""The right to do something for one node, kept on another node, for some seconds.

It is renewed by time, not by progress: listing a million keys takes longer than a lease is valid.
"""

from __future__ import annotations

import secrets
import threading
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING

from flask_msm.errors import NodeError


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from flask_msm.memcached.client import MemcachedNode
    from flask_msm.memcached.protocol import CasToken, Item
    from flask_msm.process.clock import Clock


#: What the names of all leases begin with; the id of a node follows, or, with a colon before it,
#: what one worker of the fleet does. Leases are not signed.
LEASES = "fleet:lease:"
COPIES, HISTORY = f"{LEASES}:copies", f"{LEASES}:history"
#: Time in seconds a lease is valid, and after which it is renewed.
LEASE, RENEW = 15, 5.0
#: What the workers that have a lease together write there; one of them alone writes random digits.
SHARED = b"shared"
#: What is left for a second where a worker gave a lease back that it had alone.
FREE = b"free"
_OWNER_LENGTH = 16


class LeaseLostError(Exception):
    """Another worker does it, or this worker was too slow."""

    def __init__(self) -> None:
        super().__init__("this worker did not keep the lease; the next tick of a worker goes on")


def is_owner(value: bytes) -> bool:
    """Return whether *value* is what a worker writes that has a lease alone."""
    return len(value) == _OWNER_LENGTH and not value.strip(b"0123456789abcdef")


@dataclass(eq=False)
class Lease:
    """A right that one worker has, or some have together.

    Args:
        node: Keeps it.
        key: Its storage key.
        clock: Measures how long it is valid.
        timeout: Time in seconds one operation may take.
        shared: All workers that ask for it so have it together.
    """

    node: MemcachedNode
    key: str
    _: KW_ONLY
    clock: Clock
    timeout: float
    shared: bool = False

    def __post_init__(self) -> None:
        self._owner = SHARED if self.shared else secrets.token_hex(_OWNER_LENGTH // 2).encode()
        self._valid_until = 0.0

    def acquire(self, instead_of: Item | None = None) -> bool:
        """Return whether this worker has it now; *instead_of* was found there, and is no lease."""
        now = self.clock.monotonic()
        if instead_of is not None:
            taken = self._replace(instead_of.token, self._owner, LEASE)
        else:
            exchange = self.node.start_add(self.key, self._owner, LEASE, self._deadline())
            # The first of two that were sent may have arrived; others may have it as well.
            taken = exchange.result() or self._mine() is not None
        if taken:
            self._valid_until = now + LEASE
        return taken

    def check(self) -> None:
        """Return if this worker has it still.

        Raises:
            LeaseLostError: It is not this worker's any more.
        """
        if self.clock.monotonic() >= self._valid_until:
            raise LeaseLostError

    def renew(self) -> None:
        """Keep it for as long as it was taken for; what does not arrive is tried again later."""
        if not self._valid_until:
            return
        now = self.clock.monotonic()
        try:
            token = self._mine()
            renewed = token is not None and self._replace(token, self._owner, LEASE)
        except NodeError:
            return
        # Another one of those that share it may have renewed it in this moment.
        self._valid_until = now + LEASE if renewed or (self.shared and token) else 0.0

    def release(self) -> None:
        """Give it back; an unreachable node forgets it by itself."""
        self._valid_until = 0.0
        try:
            token = self._mine()
            if token is not None:
                self._replace(token, self._owner if self.shared else FREE, 1)
        except NodeError:
            return

    def end(self, note: bytes, ttl: int) -> bool:
        """Leave *note* in its place for *ttl* seconds; return whether it was this worker's still.

        Raises:
            NodeError: The node that keeps it failed.
        """
        self._valid_until = 0.0
        # Once more, for it may have been renewed in this moment.
        for _ in range(2):
            token = self._mine()
            if token is not None and self._replace(token, note, ttl):
                return True
        return False

    def _mine(self) -> CasToken | None:
        item = self.node.start_gets(self.key, self._deadline()).result()
        return item.token if item is not None and item.value == self._owner else None

    def _replace(self, token: CasToken, value: bytes, ttl: int) -> bool:
        return bool(self.node.start_cas(self.key, value, ttl, token, self._deadline()).result())

    def _deadline(self) -> float:
        return self.clock.monotonic() + self.timeout


@contextmanager
def kept(leases: Callable[[], Iterable[Lease]]) -> Iterator[None]:
    """Renew what *leases* returns from time to time, by a thread, while the block runs."""
    over = threading.Event()

    def keep() -> None:
        while not over.wait(RENEW):
            for lease in leases():
                lease.renew()

    keeper = threading.Thread(target=keep, name="flask_msm-lease", daemon=True)
    keeper.start()
    try:
        yield
    finally:
        over.set()
        keeper.join()
