"""A node in memory: counts operations, fails on demand. For what needs no network to be shown."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import count
from types import SimpleNamespace
from typing import Any

from flask_msm.errors import NodeBusyError, NodeError, NodeUnreachableError, NodeValueError
from flask_msm.memcached.protocol import CasToken, Item, Look, Values
from flask_msm.memcached.statistics import Probe


def values_of(found: dict[str, bytes]) -> Values:
    """Return what a node that holds *found* replies."""
    reply, places = bytearray(), {}
    for key, data in found.items():
        reply += b"VALUE %b 0 %d\r\n" % (key.encode(), len(data))
        places[key.encode()] = len(reply), len(reply) + len(data)
        reply += data + b"\r\n"
    return Values(bytes(reply + b"END\r\n"), places)


def hand_on_digests(listed, prefix: str, digits: str, length: int, take) -> None:
    """Hand on the digests among the keys *listed*, as a node does."""
    named = re.compile(f"{re.escape(prefix)}([{digits}][0-9a-f]{{{length - 1}}})")
    take([found[1].encode() for key in listed if (found := named.fullmatch(key))])


class FakeExchange:
    def __init__(self, act) -> None:
        self._act = act

    def result(self) -> Any:
        return self._act()

    def abandon(self) -> None:
        pass


class FakeQuickCommands:
    """As ``QuickCommands``: all but the usual reply is no answer.

    Attributes:
        pool: Has the number of the connection that was opened last.
    """

    def __init__(self, node: Any) -> None:
        self.pool = SimpleNamespace(youngest=0)
        self._node = node

    def send(
        self, command: bytes, deadline: float, opened_by: int | None = None
    ) -> list[FakeExchange]:
        line, _, rest = command.partition(b"\r\n")
        name, key, *words = line.decode().split()
        if name in ("gets", "mg"):
            return [self._node.start_gets(key, deadline)]
        size = words[{"ms": 0}.get(name, 2)]
        value, after = rest[: int(size)], rest[int(size) + 2 :]
        if name in {"ms", "append"}:
            unique = words[2].removeprefix("C").encode() if name == "ms" else None
            return [
                self._node.start_append(name, key, value, unique, deadline),
                *(self.send(after, deadline) if after else ()),
            ]
        assert name == "cas"
        _, ttl, _, unique = words
        token = CasToken(unique.encode(), opened_by or 0)
        return [
            self._node.start_cas(key, value, int(ttl), token, deadline),
            *(self.send(after, deadline) if after else ()),
        ]

    def receive_item(self, asked: list[FakeExchange], start: bytes) -> Item | None:
        *stored, item = asked
        if not all(self.receive_line([one]) == b"STORED\r\n" for one in stored):
            item.abandon()
            return None
        try:
            return item.result()
        except NodeError:
            return None

    def receive_line(self, asked: list[FakeExchange]) -> bytes:
        try:
            answer = asked[0].result()
        except NodeError:
            return b""
        if isinstance(answer, Item):
            return b"HD c%b\r\n" % answer.token.unique
        if isinstance(answer, bytes):
            return b"HD c%b\r\n" % answer
        return {True: b"STORED\r\n", False: b"EXISTS\r\n"}.get(answer, b"EN\r\n")

    def receive_appended(self, asked: list[FakeExchange]) -> CasToken | None:
        line = self.receive_line(asked)
        return CasToken(line[4:-2], 0) if line.startswith(b"HD c") else None

    def abandon(self, asked: list[FakeExchange]) -> None:
        for one in asked:
            one.abandon()


class FakeNode:
    """Commands take effect when their reply is read, so that tests can order them."""

    def __init__(self, node_id: str) -> None:
        self.id = node_id
        self.quick = FakeQuickCommands(self)
        self.item_size_max = 1024 * 1024
        self.takes_meta = False
        self.clock_ahead = 0.0
        self.items: dict[str, tuple[bytes, int]] = {}
        self.ttls: dict[str, int] = {}
        #: When keys expire, as a listing shows it.
        self.ends: dict[str, int] = {}
        self.operations: list[str] = []
        self.failing: Exception | None = None
        self.before: dict[str, Any] = {}
        #: Keys whose values it refuses to store.
        self.refuses: set[str] = set()
        #: Whether it refuses a value for what it is.
        self.too_much: Callable[[str, bytes], bool] = lambda key, value: False
        #: Statistics.
        self.said: dict[str, str] = {"uptime": "1", "evictions": "0"}
        self._cas = count(1)

    def fail(self, error: Exception | None = None) -> None:
        self.failing = error or NodeUnreachableError(self.id, "connection refused")

    def hang(self) -> None:
        self.failing = NodeBusyError(self.id, "timed out")

    def heal(self) -> None:
        self.failing = None

    def restart_empty(self) -> None:
        self.items.clear()
        self.heal()

    def put(self, key: str, value: bytes) -> None:
        self.items[key] = value, next(self._cas)

    def _exchange(self, name: str, key: str, act) -> FakeExchange:
        def run():
            # Records shared between workers are no operation of a session.
            if ":fleet:" not in key:
                self.operations.append(name)
                if hook := self.before.pop(name, None):
                    hook()
            if self.failing is not None:
                raise self.failing
            return act()

        return FakeExchange(run)

    def start_gets(self, key: str, deadline: float) -> FakeExchange:
        def gets():
            found = self.items.get(key)
            return Item(found[0], CasToken(str(found[1]).encode(), 0)) if found else None

        return self._exchange("gets", key, gets)

    def start_add(self, key: str, value: bytes, ttl: int, deadline: float) -> FakeExchange:
        def add():
            self._refuse(key, value)
            if key in self.items:
                return False
            self._store(key, value, ttl)
            return True

        return self._exchange("add", key, add)

    def add_many(self, items, deadline: float):
        return {
            key: self._answered(self.start_add(key, value, ttl, deadline))
            for key, (value, ttl) in items.items()
        }

    def cas_many(self, items, deadline: float):
        return {
            key: self._answered(self.start_cas(key, value, ttl, token, deadline))
            for key, (value, ttl, token) in items.items()
        }

    def _answered(self, exchange: FakeExchange):
        try:
            return exchange.result()
        except NodeValueError as error:
            return error

    def start_cas(
        self, key: str, value: bytes, ttl: int, token: CasToken, deadline: float
    ) -> FakeExchange:
        def cas():
            self._refuse(key, value)
            found = self.items.get(key)
            if found is None:
                return None
            if str(found[1]).encode() != token.unique:
                return False
            self._store(key, value, ttl)
            return True

        return self._exchange("cas", key, cas)

    def start_append(
        self, name: str, key: str, value: bytes, unique: bytes | None, deadline: float
    ) -> FakeExchange:
        def append():
            found = self.items.get(key)
            if found is None or (unique is not None and str(found[1]).encode() != unique):
                return None if name == "ms" else False
            self.put(key, found[0] + value)
            return str(self.items[key][1]).encode() if name == "ms" else True

        return self._exchange(name, key, append)

    def _refuse(self, key: str, value: bytes) -> None:
        if key in self.refuses or self.too_much(key, value):
            raise NodeValueError(self.id, "refused the value: out of memory")

    def _store(self, key: str, value: bytes, ttl: int) -> None:
        self.put(key, value)
        self.ttls[key] = ttl

    def get_many(self, keys, deadline: float):
        found = {key: self.start_gets(key, deadline).result() for key in keys}
        return {key: item for key, item in found.items() if item is not None}

    def start_get_values(self, keys, deadline: float) -> FakeExchange:
        def read():
            found = [(key, self.start_gets(key, deadline).result()) for key in keys]
            return values_of({key: item.value for key, item in found if item is not None})

        return FakeExchange(read)

    can_look = True

    def look(self, whole, tokens, deadline: float, *, beats):
        if self.failing is not None:
            raise self.failing
        for key, ttl in beats.items():
            self._store(key, b"-", ttl)
        whole = set(whole)
        found = {key: self.start_gets(key, deadline).result() for key in (*whole, *tokens)}
        return {
            key: Look(item.token, item.value if key in whole else None)
            for key, item in found.items()
            if item is not None
        }

    def probe(self, whole, tokens, deadline: float, *, beats):
        return Probe(self.stats(deadline), self.look(whole, tokens, deadline, beats=beats))

    @property
    def largest(self) -> int:
        return self.item_size_max - 512

    def stats(self, deadline: float, *arguments: str) -> dict[str, str]:
        if self.failing is not None:
            raise self.failing
        if arguments:
            return {"item_size_max": str(self.item_size_max)}
        return {"version": "fake", "curr_items": str(len(self.items)), **self.said}

    def metadump(self, prefix: str, deadline: float) -> list[str]:
        if self.failing is not None:
            raise self.failing
        return [key for key in self.items if key.startswith(prefix)]

    def list_digests(self, prefix, digits, length, take, deadline: float) -> None:
        hand_on_digests(self.metadump(prefix, deadline), prefix, digits, length, take)

    def sample(self, prefix: str, limit: int, deadline: float) -> list[str]:
        return self.metadump(prefix, deadline)[:limit]

    def expiries(self, prefix: str, keys, deadline: float) -> dict[str, int]:
        listed = self.metadump(prefix, deadline)
        return {key: self.ends.get(key, -1) for key in listed if key in keys}

    def delete(self, key: str, deadline: float) -> bool:
        return self._exchange("delete", key, lambda: self.items.pop(key, None) is not None).result()

    def resolve(self) -> None:
        pass

    def rest(self, *, crowded: bool) -> None:
        pass

    def close(self) -> None:
        pass
