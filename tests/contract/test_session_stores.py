"""The contract of every store of sessions, on any kind of storage."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from cachelib import SimpleCache
from support.fake_node import FakeNode
from support.storage import (
    ENVELOPE,
    FOREIGN,
    KEY,
    MAX_SIZE,
    OTHER_KEYS,
    Host,
    Nearby,
    Views,
    adding,
    alias,
    changing,
    fast_path,
    key,
    load,
    record,
    replica_set,
    save,
    sticky_path,
    tombstone,
    values,
)

from flask_msm.cluster.mode import Mode
from flask_msm.process.clock import SystemClock
from flask_msm.record.keys import storage_key
from flask_msm.record.record import Kind
from flask_msm.storage.replicated import ClusterStore
from flask_msm.storage.store import FRESH, Outcome, RecordTooLargeError, SessionStore


class Case(NamedTuple):
    """A store, another one over the same place, and how to get behind their backs.

    Attributes:
        one: A store.
        other: What another worker, or another thread, uses for the same sessions.
        put: Stores bytes under a key wherever the store would find them.
        raw: Returns all bytes stored under a key.
    """

    one: SessionStore
    other: SessionStore
    put: Callable[[str, bytes], None]
    raw: Callable[[str], list[bytes]]


def local(host: Host, other: Host) -> Case:
    def raw(at):
        return [data[9:] for data in [host.shelf.cache.get(at)] if data]

    return Case(host.local, other.local, lambda at, data: host.put(bytes(9) + data, at), raw)


def filesystem(tmp_path, _):
    return local(Host(tmp_path / "local"), Host(tmp_path / "local"))


def simple(tmp_path, _):
    host = Host(kind="simple")
    return local(host, host)


def given(tmp_path, _):
    host = Host(tmp_path / "local", SimpleCache(threshold=1000))
    return local(host, host)


class Dictionary:
    """A cache that all workers of the host share, as a server would."""

    def __init__(self) -> None:
        self.found: dict[str, Any] = {}

    def get(self, name):
        return self.found.get(name)

    def set(self, name, value, timeout=None):
        self.found[name] = value

    def delete(self, name):
        return self.found.pop(name, None) is not None


def shared(tmp_path, _):
    cache = Dictionary()
    return local(Host(tmp_path / "local", cache), Host(tmp_path / "local", cache))


def over(nodes) -> ClusterStore:
    return ClusterStore(replica_set(nodes, Views(), clock=SystemClock()))


def of_nodes(one, other, nodes) -> Case:
    def put(at, data):
        for node in nodes.values():
            node.put(at, data)

    def raw(at):
        return [node.items[at][0] for node in nodes.values() if at in node.items]

    return Case(one, other, put, raw)


def cluster(tmp_path, _):
    nodes = {node_id: FakeNode(node_id) for node_id in ("n1", "n2", "n3")}
    return of_nodes(over(nodes), over(nodes), nodes)


def memcached(tmp_path, request):
    start, node_at = request.getfixturevalue("memcached"), request.getfixturevalue("node_at")
    servers = {node_id: start() for node_id in ("n1", "n2", "n3")}

    def nodes():
        return {node_id: node_at(server, node_id=node_id) for node_id, server in servers.items()}

    clients = nodes()
    until = time.monotonic() + 60

    def put(at, data):
        for node in clients.values():
            item = node.start_gets(at, until).result()
            if item is None:
                assert node.start_add(at, data, 1000, until).result()
            else:
                assert node.start_cas(at, data, 1000, item.token, until).result()

    def raw(at):
        items = [node.start_gets(at, until).result() for node in clients.values()]
        return [item.value for item in items if item]

    return Case(over(clients), over(nodes()), put, raw)


def failover(mode, near_max_age=None):
    def make(tmp_path, _):
        one = Nearby(tmp_path / "local", near_max_age=near_max_age)
        other = Nearby(tmp_path / "local", near_max_age=near_max_age, nodes=one.nodes)
        one.mode = other.mode = mode
        if mode is Mode.LOCAL:
            one.outage()
            return local(one, other)._replace(one=one.store, other=other.store)
        nodes = of_nodes(one.store, other.store, one.nodes)
        if near_max_age is None:
            return nodes
        here = local(one, other)
        return nodes._replace(
            put=lambda at, data: (nodes.put(at, data), here.put(at, data)), raw=here.raw
        )

    return make


def fast(tmp_path, _):
    one = Nearby(tmp_path / "local")
    other = Nearby(tmp_path / "local", nodes=one.nodes)
    return of_nodes(fast_path(one), fast_path(other), one.nodes)


def sticky(enabled):
    def make(tmp_path, _):
        one = Nearby(tmp_path / "local", near_max_age=5.0)
        other = Nearby(tmp_path / "local", near_max_age=5.0, nodes=one.nodes)
        nodes = of_nodes(
            sticky_path(one, enabled=enabled), sticky_path(other, enabled=enabled), one.nodes
        )
        here = local(one, other)
        return nodes._replace(
            put=lambda at, data: (nodes.put(at, data), here.put(at, data)), raw=here.raw
        )

    return make


STORES = {
    "local, filesystem": filesystem,
    "local, simple": simple,
    "local, a cache of the user": given,
    "local, a shared cache of the user": shared,
    "cluster": cluster,
    "cluster of memcached": memcached,
    "fail-over, distributed": failover(Mode.DISTRIBUTED),
    "fail-over, fast path": fast,
    "fail-over, sticky": failover(Mode.DISTRIBUTED, 5.0),
    "fail-over, sticky path": sticky(enabled=True),
    "fail-over, sticky path off": sticky(enabled=False),
    "fail-over, local": failover(Mode.LOCAL),
}


@pytest.fixture(params=STORES.values(), ids=STORES.keys())
def case(request, tmp_path) -> Case:
    return request.param(tmp_path, request)


@pytest.fixture
def store(case) -> SessionStore:
    return case.one


def sealed(made, at=KEY) -> bytes:
    return ENVELOPE.seal(made, at)


def test_a_session_that_was_never_stored_is_not_found(store):
    loaded = load(store)

    assert loaded.record is None
    assert loaded.outcome is not Outcome.FOUND


def test_a_new_session_is_stored_and_read(store):
    saved = save(store, adding(record(1, a=b"1")), known=FRESH)

    assert saved.copies > 0
    assert saved.record == record(1, a=b"1")
    assert load(store, at_least=1).record == record(1, a=b"1")


def test_a_new_session_joins_what_is_there_by_surprise(store):
    save(store, adding(record(1, a=b"1")))

    saved = save(store, adding(record(2, b=b"2")), known=FRESH)

    assert values(saved) == values(load(store, at_least=2)) == {"a": b"1", "b": b"2"}


def test_a_change_after_a_load_is_stored(store):
    save(store, adding(record(1, a=b"1")), known=FRESH)

    save(store, changing(b=b"2"), known=load(store, at_least=1))

    assert values(load(store, at_least=11)) == {"a": b"1", "b": b"2"}


def test_a_change_without_a_load_goes_on_top_of_what_is_there(store):
    save(store, adding(record(1, a=b"1")), known=FRESH)

    saved = save(store, changing(a=b"2"))

    assert saved.record.version > 1
    assert values(load(store, at_least=saved.record.version)) == {"a": b"2"}


def test_another_worker_reads_what_was_acknowledged(case):
    saved = save(case.one, adding(record(1, a=b"1")), known=FRESH)

    loaded = load(case.other, at_least=saved.record.version)

    assert loaded.record == saved.record


def test_a_change_that_was_prepared_before_another_one_loses_nothing(case):
    save(case.one, adding(record(1, a=b"1")), known=FRESH)
    early = load(case.one, at_least=1)
    save(case.other, changing(b=b"2"), known=load(case.other, at_least=1))

    saved = save(case.one, changing(c=b"3"), known=early)

    assert values(saved) == {"a": b"1", "b": b"2", "c": b"3"}
    assert load(case.other, at_least=saved.record.version).record == saved.record


def test_parallel_changes_of_two_workers_are_all_kept(case):
    save(case.one, adding(record(1)), known=FRESH)
    failures = []

    def work(store, name):
        try:
            for number in range(5):
                save(store, changing(**{f"{name}{number}": b"x"}), known=load(store))
        except Exception as error:  # noqa: BLE001  (shown below)
            failures.append(error)

    workers = [
        threading.Thread(target=work, args=(store, name))
        for store, name in ((case.one, "a"), (case.one, "b"), (case.other, "c"), (case.other, "d"))
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)

    assert failures == []
    assert values(load(case.one)).keys() == {f"{name}{n}" for name in "abcd" for n in range(5)}


def test_a_tombstone_stays_when_other_records_are_written_after_it(case):
    save(case.one, adding(record(1, a=b"1")), known=FRESH)
    early = load(case.other, at_least=1)
    save(case.one, adding(tombstone(2)), known=load(case.one, at_least=1))

    saved = save(case.other, changing(a=b"2"), known=early)
    late = save(case.one, adding(record(99, a=b"99")))

    assert saved.record.kind is late.record.kind is Kind.DESTROYED
    assert load(case.one).record.kind is load(case.other).record.kind is Kind.DESTROYED


def test_an_alias_is_kept_with_where_it_points_to(case):
    save(case.one, adding(record(1, a=b"1")), known=FRESH)

    save(case.one, adding(alias(2, "there", a=b"1")), known=load(case.one, at_least=1))

    for found in (load(case.other, at_least=2).record, save(case.other, changing(a=b"3")).record):
        assert found.kind is Kind.ALIAS
        assert found.pointer.key == "there"


def test_a_tombstone_over_an_alias_keeps_where_it_points_to(store):
    save(store, adding(alias(1, "there")), known=FRESH)

    saved = save(store, adding(tombstone(2)))

    assert saved.record.kind is Kind.DESTROYED
    assert saved.record.pointer.key == "there"


def test_a_session_that_is_too_large_is_refused_and_named(store):
    with pytest.raises(RecordTooLargeError) as caught:
        save(store, adding(record(1, small=b"1", big=bytes(2 * MAX_SIZE))), known=FRESH)

    assert caught.value.largest == "big"
    assert load(store).record is None


def test_a_change_that_is_too_large_leaves_what_was_there(store):
    save(store, adding(record(1, a=b"1")), known=FRESH)

    with pytest.raises(RecordTooLargeError):
        save(store, changing(big=bytes(2 * MAX_SIZE)), known=load(store, at_least=1))

    assert load(store, at_least=1).record == record(1, a=b"1")


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: b"rubbish",
        lambda data: data[:-1],
        lambda data: data[:60] + bytes([data[60] ^ 1]) + data[61:],
        lambda data: sealed(record(1, a=b"1"), key(1)),
    ],
    ids=["empty", "rubbish", "cut off", "flipped", "of another session"],
)
def test_a_corrupt_record_is_not_missing_and_is_replaced(case, damage):
    case.put(KEY, damage(sealed(record(1, a=b"1"))))

    assert load(case.one).outcome is Outcome.UNKNOWN
    save(case.one, adding(record(2, b=b"2")))

    assert values(load(case.one, at_least=2)) == {"b": b"2"}


def test_a_record_of_an_unknown_key_is_left_alone(case):
    foreign = FOREIGN.seal(record(5, a=b"5"), KEY)
    case.put(KEY, foreign)

    assert load(case.one).outcome is Outcome.UNKNOWN
    save(case.one, adding(record(6, b=b"6")))

    assert foreign in case.raw(KEY)
    assert load(case.one, keys=OTHER_KEYS).record is not None


def test_a_record_that_expired_is_not_found(case):
    now = time.time()
    clock_ahead = record(1, a=b"1")._replace(expires_at=now - 10)

    save(case.one, adding(clock_ahead), known=FRESH)

    found = load(case.one).record
    assert found is None or found.expires_at < now


@pytest.mark.parametrize("seconds", [1, 1000, 31 * 86400, 400 * 86400, 200 * 365 * 86400])
def test_any_life_of_a_session_can_be_stored(case, seconds):
    made = record(1, a=b"1", expires_at=time.time() + seconds)

    assert save(case.one, adding(made), known=FRESH).copies > 0
    found = load(case.other, at_least=1).record
    # On a busy machine the shortest may be over by now.
    assert found == made or time.time() > made.expires_at


@pytest.mark.parametrize("prefix", ["p" * 150, "shop:", "a/b/../c:", "%2e%2e%2f"])
def test_any_prefix_of_keys_can_be_used(store, prefix):
    one, other = storage_key(prefix, "a" * 43), storage_key(prefix, "b" * 43)

    save(store, adding(record(1, a=b"1")), one, known=FRESH)
    save(store, adding(record(1, b=b"2")), other, known=FRESH)

    assert values(load(store, one)) == {"a": b"1"}
    assert values(load(store, other)) == {"b": b"2"}


def test_holders_are_named(store):
    save(store, adding(record(1)), known=FRESH)

    assert store.holders(KEY, time.monotonic() + 60)
    assert not store.holders(key(1), time.monotonic() + 60)
