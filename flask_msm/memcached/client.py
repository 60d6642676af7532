"""One memcached node over pymemcache.

pymemcache opens the connections (``dialing.py``). What travels on them is written and read here
as bytes, because commands to two nodes must be on their way at once, because a reply that was not
read to its end must close its connection for any reason, and because a deadline must cover the
whole operation; ``pymemcache.Client`` does none of the three.
"""

from __future__ import annotations

import math
import socket
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from flask_msm.errors import NodeBusyError, NodeValueError

from . import wire
from .endpoint import Endpoint
from .exchange import CasExchange, FailedReply, PendingReply
from .failures import OF_A_VALUE, classify
from .listing import Digests, Expiries, Listing
from .pool import Pool
from .protocol import Answer, ManyAnswers, ManyItems, ManyLooks, ManyValues, OneItem
from .quick import QuickCommands
from .resolver import Resolver, UnixSocket
from .statistics import Statistics, StatisticsAndLooks


if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from flask_msm.errors import NodeError
    from flask_msm.process.clock import Clock

    from .endpoint import ConnectionCounters
    from .protocol import CasToken, Exchange, Item, Look, Reply, Values
    from .statistics import Probe
    from .wire import ServerError

T = TypeVar("T")

# What an item takes on the server beside its value: header, a key of 250 bytes, cas id.
ITEM_OVERHEAD = 512
# Keys, and bytes, in one command.
BATCH, BATCH_BYTES = 100, 262_144

# A connection that was idle for so long is closed, seconds; at the latest after twice that time.
IDLE = 60.0

# A crawl that another client started is over soon; then the keys can be listed.
BUSY_RETRIES = 50
# Time in seconds between two tries of a client that waits for its turn.
BUSY_DELAY = 0.05

_ADDED = {b"STORED": True, b"NOT_STORED": False}
_REPLACED = {b"STORED": True, b"EXISTS": False, b"NOT_FOUND": None}
_DELETED = {b"DELETED": True, b"NOT_FOUND": False}


class MemcachedNode:
    """One memcached node. Every operation ends by its deadline (monotonic clock, seconds).

    ``start_*`` sends a command and returns at once; failures to send come out of ``result()``. Keys
    are ASCII without blanks, times to live are what memcached takes (see ``ttl_for``).

    Safe to use from any number of threads, and on both sides of a fork.

    All times are seconds. A *host* has no brackets; the *path* of a unix socket stands instead of
    host and port, and there TLS is not spoken. A read is sent again *retry_attempts* times after a
    soft failure.

    Attributes:
        item_size_max: Largest item the server stores, in bytes, from its statistics.
        takes_meta: Whether it may be sent meta commands (``ms``, ``mg``), from its statistics.
        clock_ahead: By how many seconds its clock is ahead of the one that times to live are
            counted with.
    """

    def __init__(
        self,
        node_id: str,
        *,
        host: str | None = None,
        port: int | None = None,
        path: str | None = None,
        connect_timeout: float,
        timeout: float,
        pool_size: int,
        retry_attempts: int = 1,
        retry_delay: float = 0.02,
        tls_context: ssl.SSLContext | None = None,
        auth: tuple[str, str] | None = None,
        clock: Clock | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        monotonic = time.monotonic if clock is None else clock.monotonic
        if path is not None:
            self._addresses: Resolver | UnixSocket = UnixSocket(path)
        elif host is not None and port is not None:
            self._addresses = Resolver(host, port)
        else:
            raise ValueError("a node has host and port or the path of a unix socket")
        self.id = node_id
        self.item_size_max = 1024 * 1024
        self.takes_meta = False
        self.clock_ahead = 0.0
        self._pool = Pool(node_id, pool_size, monotonic)
        self._rested_at = monotonic()
        #: Reads of a good day.
        self.quick = QuickCommands(self._pool, timeout, monotonic)
        self._endpoint = Endpoint(
            node=node_id,
            addresses=self._addresses,
            pool=self._pool,
            connect_timeout=connect_timeout,
            timeout=timeout,
            retry_attempts=retry_attempts,
            retry_delay=retry_delay,
            tls_context=tls_context if path is None else None,
            host=host,
            auth=auth,
            monotonic=monotonic,
            sleep=sleep,
        )

    @property
    def counters(self) -> ConnectionCounters:
        """What happened on the way to the node so far."""
        return self._endpoint.counters

    @property
    def can_look(self) -> bool:
        """Whether ``look`` can be asked."""
        return self.takes_meta

    @property
    def largest(self) -> int:
        """Size in bytes of the largest value that it takes."""
        return self.item_size_max - ITEM_OVERHEAD

    def start_gets(self, key: str, deadline: float) -> Exchange[Item | None]:
        """Read one item; ``None`` when the node does not have it."""
        try:
            name = wire.key_bytes(key)
        except wire.WireError as exc:
            return FailedReply(classify(self.id, exc))
        return self._start(
            wire.gets((name,)), OneItem(name), deadline, self._endpoint.retry_attempts
        )

    def start_add(self, key: str, value: bytes, ttl: int | None, deadline: float) -> Exchange[bool]:
        """Store an item that is not there; ``False`` when there is one.

        It is sent again when the server had closed the connection. Should the first one have
        arrived all the same, the answer is ``False`` and the item the caller's own.
        """
        try:
            name = self._checked(key, value)
        except wire.WireError as exc:
            return FailedReply(classify(self.id, exc))
        command = wire.add(name, value, self._ttl(ttl))
        return self._start(command, Answer(_ADDED), deadline)

    def start_cas(
        self, key: str, value: bytes, ttl: int, token: CasToken, deadline: float
    ) -> Exchange[bool | None]:
        """Replace what *token* was read with.

        Returns ``True`` when stored, ``False`` when another client changed it or no connection
        from before the ``gets`` is left (read again), ``None`` when it is gone.
        """
        try:
            name = self._checked(key, value)
        except wire.WireError as exc:
            return FailedReply(classify(self.id, exc))
        command = wire.cas(name, value, self._ttl(ttl), token.unique)
        reply = Answer[bool | None](_REPLACED)
        return CasExchange(
            self._endpoint, command, reply, deadline, opened_by=token.horizon, outdated=False
        ).begin()

    def start_get_values(self, keys: Collection[str], deadline: float) -> Exchange[Values]:
        """Read the values among *keys*, ``BATCH`` at most, that the node has; none can be replaced.

        Deadlines are monotonic time, seconds.
        """
        try:
            command = wire.get(keys)
        except wire.WireError as exc:
            return FailedReply(classify(self.id, exc))
        reply = ManyValues(frozenset(command.split()[1:]))
        return self._start(command, reply, deadline, self._endpoint.retry_attempts)

    def get_many(self, keys: Iterable[str], deadline: float) -> dict[str, Item]:
        """Return the items among *keys* that the node has.

        Raises:
            NodeError: One of the commands it takes has failed.
        """
        found: dict[str, Item] = {}
        wanted = list(self._key_bytes(keys).items())
        for start in range(0, len(wanted), BATCH):
            batch = dict(wanted[start : start + BATCH])
            retries = self._endpoint.retry_attempts
            found |= self._start(wire.gets(batch), ManyItems(batch), deadline, retries).result()
        return found

    def look(
        self,
        whole: Iterable[str],
        tokens: Iterable[str],
        deadline: float,
        *,
        beats: Mapping[str, int],
    ) -> dict[str, Look]:
        """Return what the node has of *whole*, and of *tokens* only the cas ids, in one round trip.

        Only for a node that ``can_look``. Under the keys of *beats* next to nothing is stored, and
        first, with these times to live in seconds.

        Raises:
            NodeError: One of the commands it takes has failed.
        """
        keys, commands = self._looking(whole, tokens, beats)
        found: dict[str, Look] = {}
        retries = self._endpoint.retry_attempts
        for start in range(0, len(keys), BATCH):
            reply = ManyLooks(keys[start : start + BATCH], OF_A_VALUE)
            sent = b"".join(commands[start : start + BATCH])
            found |= self._start(sent, reply, deadline, retries).result()
        for key in beats:
            found.pop(key, None)
        return found

    def probe(
        self,
        whole: Iterable[str],
        tokens: Iterable[str],
        deadline: float,
        *,
        beats: Mapping[str, int],
    ) -> Probe:
        """Return the node's statistics and what ``look`` returns, in one round trip.

        Raises:
            NodeError: It failed; a ``NodeValueError`` if it gives no statistics.
        """
        keys, commands = self._looking(whole, tokens, beats)
        reply = StatisticsAndLooks(ManyLooks(keys, OF_A_VALUE))
        sent = wire.stats(()) + b"".join(commands)
        found = self._start(sent, reply, deadline).result()
        for key in beats:
            found.looks.pop(key, None)
        return found

    def _looking(
        self, whole: Iterable[str], tokens: Iterable[str], beats: Mapping[str, int]
    ) -> tuple[list[str], list[bytes]]:
        """Return keys, and the command for each."""
        keys, commands = [*beats], []
        try:
            for key, ttl in beats.items():
                commands.append(wire.beat(wire.key_bytes(key), self._ttl(ttl)))
            for asked, is_whole in ((whole, True), (tokens, False)):
                for key in asked:
                    keys.append(key)
                    commands.append(wire.look_at(key, whole=is_whole))
        except wire.IllegalKeyError as exc:
            raise classify(self.id, exc) from exc
        return keys, commands

    def add_many(
        self, items: Mapping[str, tuple[bytes, int | None]], deadline: float
    ) -> dict[str, bool | NodeError]:
        """Store those of *items* that are not there, as many with one command as go well.

        Args:
            items: Values and times to live in seconds by key.
            deadline: Monotonic time in seconds by which the answers have to be there.

        Returns:
            By key: whether it was stored, ``False`` when there is one, and why the node refused it.

        Raises:
            NodeError: The node failed; some may have been stored.
        """
        found: dict[str, bool | NodeError] = {}
        commands = self._commands(
            {
                key: (value, partial(wire.add, value=value, ttl=self._ttl(ttl)))
                for key, (value, ttl) in items.items()
            },
            found,
        )
        for batch in _batches(commands):
            reply = ManyAnswers(len(batch), _ADDED, OF_A_VALUE)
            answers = self._start(b"".join(batch.values()), reply, deadline).result()
            found |= self._meanings(batch, answers)
        return found

    def cas_many(
        self, items: Mapping[str, tuple[bytes, int, CasToken]], deadline: float
    ) -> dict[str, bool | NodeError | None]:
        """Replace items, as many with one command as go well.

        Args:
            items: Values, times to live in seconds and what they were read with, by key.
            deadline: Monotonic time in seconds by which the answers have to be there.

        Returns:
            By key what ``start_cas`` answers, or why the node refused the value.

        Raises:
            NodeError: The node failed; some may have been stored.
        """
        found: dict[str, bool | NodeError | None] = {}
        commands = self._commands(
            {
                key: (
                    value,
                    partial(wire.cas, value=value, ttl=self._ttl(ttl), unique=token.unique),
                )
                for key, (value, ttl, token) in items.items()
            },
            found,
        )
        oldest = min((token.horizon for _, _, token in items.values()), default=0)
        for batch in _batches(commands):
            reply = ManyAnswers[bool | None](len(batch), _REPLACED, OF_A_VALUE)
            outdated: list[bool | ServerError | None] = [False] * len(batch)
            exchange = CasExchange(
                self._endpoint,
                b"".join(batch.values()),
                reply,
                deadline,
                opened_by=oldest,
                outdated=outdated,
            )
            found |= self._meanings(batch, exchange.begin().result())
        return found

    def _commands(
        self,
        made: Mapping[str, tuple[bytes, Callable[[bytes], bytes]]],
        refused: dict[str, Any],
    ) -> dict[str, bytes]:
        """Return commands with values; *refused* gets why one cannot be sent."""
        commands = {}
        for key, (value, command) in made.items():
            try:
                commands[key] = command(self._checked(key, value))
            except wire.WireError as exc:
                refused[key] = classify(self.id, exc)
        return commands

    def _meanings(
        self, commands: Mapping[str, bytes], answers: Sequence[T | ServerError]
    ) -> dict[str, T | NodeError]:
        return {
            key: classify(self.id, answer) if isinstance(answer, wire.ServerError) else answer
            for key, answer in zip(commands, answers, strict=True)
        }

    def _ttl(self, ttl: int | None) -> int:
        return wire.checked_ttl(ttl, self.clock_ahead)

    def delete(self, key: str, deadline: float) -> bool:
        """Remove an item; ``False`` when there was none."""
        (name,) = self._key_bytes([key])
        return self._start(wire.delete(name), Answer(_DELETED), deadline).result()

    def stats(self, deadline: float, *arguments: str) -> dict[str, str]:
        """Return the node's statistics; *arguments* name others than the general ones.

        Raises:
            NodeValueError: It gives none, as some proxies do; nothing else is wrong with it.
        """
        command = wire.stats(self._key_bytes(arguments))
        return self._start(command, Statistics(), deadline).result()

    def metadump(self, prefix: str, deadline: float) -> list[str]:
        """Return the keys the node holds that begin with *prefix*; not a snapshot.

        The answer may take until *deadline*: it is as long as the node is full.

        Raises:
            NodeValueError: The node does not list its keys, as some proxies and services do not.
        """
        return self._listed(Listing(prefix), deadline)

    def list_digests(
        self,
        prefix: str,
        digits: str,
        length: int,
        take: Callable[[list[bytes]], object],
        deadline: float,
    ) -> None:
        """Hand on which keys the node holds that are *prefix* and a digest, as they come.

        Listings of others have their turn before; it is waited for until *deadline*.

        Args:
            prefix: What keys begin with.
            digits: What digests may begin with, of the hexadecimal digits.
            length: How many digits a digest has.
            take: Called with some digests at a time; some may come twice.
            deadline: Monotonic time in seconds by which all have to be there.

        Raises:
            NodeValueError: The node does not list its keys.
        """
        self._listed(Digests(prefix, digits, length, take), deadline, patient=True)

    def expiries(self, prefix: str, keys: Collection[str], deadline: float) -> dict[str, int]:
        """Return when those of *keys* that the node lists expire; all begin with *prefix*.

        In seconds since the epoch, by the clock that times to live are counted with; -1 for a key
        that does not expire.

        Raises:
            NodeValueError: The node does not list its keys.
        """
        expiries = Expiries(prefix, keys)
        self._listed(expiries, deadline)
        ahead = round(self.clock_ahead)
        return {key: at if at < 0 else at - ahead for key, at in expiries.expiries().items()}

    def sample(self, prefix: str, limit: int, deadline: float) -> list[str]:
        """Return at most *limit* keys that begin with *prefix*: those listed by the *deadline*.

        Raises:
            NodeValueError: The node does not list its keys.
        """
        listing = Listing(prefix, limit)
        try:
            return self._listed(listing, deadline)
        except (NodeBusyError, NodeValueError):
            if not listing.listing:
                raise
            return listing.outcome(0)

    def _listed(self, listing: Listing, deadline: float, *, patient: bool = False) -> list[str]:
        left = max(0.0, deadline - self._endpoint.monotonic())
        endpoint = replace(self._endpoint, timeout=left)
        retries = BUSY_RETRIES
        if patient:
            endpoint = replace(endpoint, retry_delay=BUSY_DELAY)
            retries = math.ceil(left / BUSY_DELAY)

        def listed(command: bytes) -> list[str]:
            exchange = PendingReply(endpoint, command, listing, deadline, retries=retries)
            return exchange.begin().result()

        try:
            return listed(wire.METADUMP)
        except NodeValueError:
            if not listing.by_class:
                raise
        listing.reset()
        return listed(wire.METADUMP_BY_CLASS)

    def resolve(self) -> None:
        """Look the node's name up, however long that takes; not to be called by a request.

        If it has moved, connections to where it was are closed.

        Raises:
            NodeUnreachableError: The name does not resolve; the last known addresses stay.
        """
        try:
            moved = self._addresses.resolve()
        except socket.gaierror as exc:
            raise classify(self.id, exc) from exc
        if moved:
            self._pool.retire(self._pool.youngest)

    def rest(self, *, crowded: bool) -> None:
        """Close connections that are idle for long, but for one; to be called again and again.

        Args:
            crowded: The node has few connections left: all that are idle are closed now.
        """
        now = self._endpoint.monotonic()
        if crowded:
            self._pool.close()
        elif now - self._rested_at >= IDLE:
            self._rested_at = now
            self._pool.rest()

    def close(self) -> None:
        """Close idle connections; the client stays usable."""
        self._pool.close()

    def _start(
        self, command: bytes, reply: Reply[T], deadline: float, retries: int = 0
    ) -> PendingReply[T]:
        return PendingReply(self._endpoint, command, reply, deadline, retries=retries).begin()

    def _checked(self, key: str, value: bytes) -> bytes:
        if len(value) > self.item_size_max - ITEM_OVERHEAD:
            raise wire.ValueTooLargeError
        return wire.key_bytes(key)

    def _key_bytes(self, keys: Iterable[str]) -> dict[bytes, str]:
        try:
            return {wire.key_bytes(key): key for key in keys}
        except wire.IllegalKeyError as exc:
            raise classify(self.id, exc) from exc


def _batches(commands: Mapping[str, bytes]) -> Iterator[dict[str, bytes]]:
    """Yield as many of *commands* at a time as go well together."""
    batch: dict[str, bytes] = {}
    size = 0
    for key, command in commands.items():
        if batch and (size + len(command) > BATCH_BYTES or len(batch) == BATCH):
            yield batch
            batch, size = {}, 0
        batch[key] = command
        size += len(command)
    if batch:
        yield batch
