"""One memcached node, with real servers: what the operations do, and what survives what."""

from __future__ import annotations

import gc
import select
import signal
import socket
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress

import pytest

from flask_msm.errors import (
    NodeBusyError,
    NodeError,
    NodeUnreachableError,
    NodeValueError,
)
from flask_msm.memcached.client import BATCH, MemcachedNode
from flask_msm.memcached.failures import NoConnectionError, PoolExhaustedError
from flask_msm.memcached.protocol import CasToken
from flask_msm.testing.memcached import wait_until


pytestmark = pytest.mark.memcached

TTL = 60


def soon(seconds: float = 60.0) -> float:
    return time.monotonic() + seconds


def gets(node, key="k"):
    return node.start_gets(key, soon()).result()


def value(node, key="k"):
    item = gets(node, key)
    return None if item is None else item.value


def add(node, data, key="k", ttl=TTL):
    return node.start_add(key, data, ttl, soon()).result()


def cas(node, data, token, key="k"):
    return node.start_cas(key, data, TTL, token, soon()).result()


@pytest.fixture
def server(memcached):
    return memcached()


@pytest.fixture
def node(server, node_at) -> MemcachedNode:
    return node_at(server)


def test_add_stores_what_is_not_there_only(node):
    assert gets(node) is None
    assert add(node, b"first") is True
    assert add(node, b"second") is False
    assert value(node) == b"first"


@pytest.mark.parametrize("data", [b"", b"\r\n", b"\0" * 7, b"END\r\n", bytes(range(256)) * 4000])
def test_any_bytes_come_back_as_they_were(node, data):
    assert add(node, data)
    assert value(node) == data


def test_cas_replaces_exactly_what_was_read(node):
    add(node, b"1")
    before = gets(node).token
    assert cas(node, b"2", before) is True
    assert cas(node, b"3", before) is False
    assert value(node) == b"2"


def test_cas_of_a_missing_item_returns_none(node):
    add(node, b"1")
    token = gets(node).token
    node.delete("k", soon())
    assert cas(node, b"2", token) is None
    assert gets(node) is None


def test_every_write_carries_its_ttl(node, server):
    """An item without one would never leave."""
    add(node, b"1", "added")
    add(node, b"1", "replaced")
    cas(node, b"2", gets(node, "replaced").token, "replaced")
    left = {
        line.split()[0]: int(line.split()[1].removeprefix("exp=")) - time.time()
        for line in server.ask("lru_crawler metadump all").splitlines()
        if line.startswith("key=")
    }
    assert left.keys() == {"key=added", "key=replaced"}
    assert all(TTL - 10 < seconds <= TTL + 2 for seconds in left.values())


def test_many_items_are_read_at_once(node):
    count = 2 * BATCH + 7
    for index in range(count):
        add(node, b"%d" % index, f"k{index}")
    keys = [f"k{index}" for index in range(count)] + ["missing", "k1"]
    found = node.get_many(keys, soon())
    assert {key: item.value for key, item in found.items()} == {
        f"k{index}": b"%d" % index for index in range(count)
    }
    assert cas(node, b"new", found["k3"].token, "k3") is True
    assert node.get_many([], soon()) == {}


@pytest.mark.parametrize("key", ["", "k" * 251, "a b", "a\r\nb", "ä"])
def test_an_illegal_key_is_refused_before_anything_is_sent(node, key):
    for exchange in (
        node.start_gets(key, soon()),
        node.start_add(key, b"v", TTL, soon()),
        node.start_cas(key, b"v", TTL, CasToken(b"1", 1), soon()),
    ):
        with pytest.raises(NodeValueError, match="illegal key"):
            exchange.result()
        exchange.abandon()
    for operation in (
        lambda: node.delete(key, soon()),
        lambda: node.get_many(["k", key], soon()),
        lambda: node.stats(soon(), key),
    ):
        with pytest.raises(NodeValueError, match="illegal key"):
            operation()
    assert node.counters.connects == 0


def test_bugs_come_out_as_they_are_and_cost_no_connection(node):
    add(node, b"1")
    with pytest.raises(TypeError):
        node.start_add("k", "text", TTL, soon())
    with pytest.raises(ValueError, match="TTL"):
        node.start_add("k", b"v", 0, soon())
    with pytest.raises(ValueError, match="TTL"):
        node.start_add("k", b"v", 1.5, soon())
    assert value(node) == b"1"
    assert node.counters.connects == 1


def test_a_value_known_to_be_too_large_is_not_sent(node):
    add(node, b"old")
    token = gets(node).token
    large = b"x" * (1024 * 1024 - 511)
    for exchange in (
        node.start_add("k", large, TTL, soon()),
        node.start_cas("k", large, TTL, token, soon()),
    ):
        with pytest.raises(NodeValueError, match="too large"):
            exchange.result()
    assert value(node) == b"old"
    assert cas(node, large[1:], token) is True


def test_a_date_is_one_of_the_clock_of_the_node(memcached, node_at):
    """The clock of memcached is right here, so what is not it are the dates that are sent."""
    node = node_at(memcached())
    months = 40 * 86_400
    date = int(time.time()) + 31 * 86_400
    node.clock_ahead = -months
    add(node, b"gone at once", key="early", ttl=date)
    assert value(node, "early") is None

    # Dates by a clock that is as far behind: the node is ahead of it.
    node.clock_ahead = months
    add(node, b"stays", key="right", ttl=date - months)
    assert value(node, "right") == b"stays"
    end = node.expiries("", ["right"], soon())["right"]
    assert abs(end - (date - months)) <= 2


def test_a_value_the_server_finds_too_large_leaves_the_old_one(memcached, node_at):
    node = node_at(memcached("-I", "512k"))
    node.item_size_max = 1024 * 1024
    add(node, b"old")
    token = gets(node).token
    for exchange in (
        node.start_cas("k", b"x" * 700_000, TTL, token, soon()),
        node.start_add("new", b"x" * 700_000, TTL, soon()),
        node.start_add("k", b"x" * 700_000, TTL, soon()),
    ):
        with pytest.raises(NodeValueError, match="too large"):
            exchange.result()
    assert value(node) == b"old"
    assert gets(node, "new") is None


def test_many_values_are_stored_where_there_is_none_and_each_refusal_stands_for_itself(
    memcached, node_at
):
    node = node_at(memcached("-I", "512k"))
    node.item_size_max = 1024 * 1024
    add(node, b"old", key="there")
    large = b"x" * 700_000
    items = {f"k{number}": (b"%d" % number, TTL) for number in range(250)}

    answers = node.add_many(
        {**items, "there": (b"new", TTL), "large": (large, None), "last": (b"last", None)}, soon()
    )

    assert {key for key, answer in answers.items() if answer is True} == {*items, "last"}
    assert answers["there"] is False
    assert isinstance(answers["large"], NodeValueError)
    assert node.get_many(answers, soon()).keys() == answers.keys() - {"large"}
    assert value(node, "there") == b"old"
    assert value(node, "k249") == b"249"


def test_no_values_are_stored_without_asking(node):
    assert node.add_many({}, soon()) == {}
    assert node.counters.connects == 0


def test_an_answer_that_is_none_fails_the_values_that_were_sent_with_it(node, server):
    server.kill()
    with pytest.raises(NodeUnreachableError):
        node.add_many({"k": (b"v", TTL)}, soon())


def test_many_values_are_replaced_that_are_what_they_were_read_as(node):
    for number in range(250):
        add(node, b"%d" % number, key=f"k{number}")
    read = node.get_many([f"k{number}" for number in range(250)], soon())
    cas(node, b"other", read["k7"].token, "k7")
    node.delete("k8", soon())

    answers = node.cas_many({key: (b"new", TTL, item.token) for key, item in read.items()}, soon())

    assert {key for key, answer in answers.items() if answer is not True} == {"k7", "k8"}
    assert (answers["k7"], answers["k8"]) == (False, None)
    assert (value(node, "k7"), value(node, "k249")) == (b"other", b"new")


def test_values_read_from_a_server_before_it_was_restarted_are_not_replaced(node, server):
    add(node, b"1")
    token = gets(node).token
    server.restart()
    add(node, b"2")

    assert node.cas_many({"k": (b"3", TTL, token)}, soon()) == {"k": False}
    assert value(node) == b"2"


def test_values_are_read_without_what_it_takes_to_replace_them(node):
    for key, data in (("a", b"1"), ("b", b"END\r\n"), ("c", b"x" * 300_000)):
        add(node, data, key=key)

    found = node.start_get_values(["c", "missing", "b", "a"], soon()).result()

    assert found.by_key() == {"a": b"1", "b": b"END\r\n", "c": b"x" * 300_000}
    with pytest.raises(NodeValueError):
        node.start_get_values(["a b"], soon()).result()


def test_digests_are_handed_on_as_a_node_lists_them(node):
    digests = [f"{number % 16:x}{number:039x}" for number in range(2000)]
    for digest in digests:
        add(node, b"1", key=f"m:{digest}")
    for key in ("m:fleet:control", f"m:{digests[0]}0", f"o:{digests[0]}", "m:abc", f"m:{'G' * 40}"):
        add(node, b"1", key=key)
    handed = []

    node.list_digests("m:", "3a", 40, handed.append, soon())

    found = [name.decode() for names in handed for name in names]
    assert sorted(found) == sorted(digest for digest in digests if digest[0] in "3a")


def test_a_server_out_of_memory_refuses_the_value(memcached, node_at):
    node = node_at(memcached("-M", "-m", "2"))
    with pytest.raises(NodeValueError, match="out of memory"):
        for index in range(200):
            add(node, b"x" * 100_000, f"k{index}")
    assert value(node, "k0") == b"x" * 100_000


def test_two_commands_to_two_nodes_are_on_their_way_at_once(memcached, node_at):
    """The second node answers while the first is still being waited for."""
    servers = memcached(), memcached()
    first, second = node_at(servers[0], node_id="n1"), node_at(servers[1], node_id="n2")
    for node in (first, second):
        add(node, node.id.encode())
        gets(node)
    servers[0].pause()
    before = int(servers[1].stats()["cmd_get"])
    exchanges = first.start_gets("k", soon()), second.start_gets("k", soon())
    wait_until(lambda: int(servers[1].stats()["cmd_get"]) > before, "the second command")
    servers[0].resume()
    assert [exchange.result().value for exchange in exchanges] == [b"n1", b"n2"]


def test_a_reply_that_waited_while_another_node_timed_out_is_read(memcached, node_at):
    """Who collects replies in turn comes late to the second: it must not be blamed for that."""
    stopped, running = memcached(), memcached()
    first = node_at(stopped, timeout=0.5, retry_attempts=0)
    second = node_at(running, timeout=0.5, retry_attempts=0)
    add(node_at(running), b"2")
    stopped.pause()
    exchanges = first.start_gets("k", soon()), second.start_gets("k", soon())
    with pytest.raises(NodeBusyError):
        exchanges[0].result()
    waiting = exchanges[1]._connection.socket
    assert select.select([waiting], [], [], 60)[0], "the reply is there, late or not"
    wait_until(lambda: time.monotonic() > exchanges[1]._until, "its time is over")
    assert exchanges[1].result().value == b"2"


def test_waiting_for_a_connection_ends_by_the_deadline_and_blames_no_node(server, node_at):
    node = node_at(server, pool_size=1)
    busy = node.start_gets("k", soon())
    start = time.monotonic()
    waiting = node.start_gets("k", start + 0.5)
    with pytest.raises(PoolExhaustedError) as caught:
        waiting.result()
    # The answer to the other one is not read before: nothing else ends the wait.
    assert time.monotonic() >= start + 0.5
    assert not isinstance(caught.value, NodeBusyError | NodeUnreachableError | NodeValueError)
    assert busy.result() is None
    assert gets(node) is None


def test_threads_get_their_own_replies(server, node_at):
    """More threads than connections, all on one node: every reply is the asker's own."""
    node = node_at(server, pool_size=3)

    def work(name: int) -> None:
        key = f"k{name}"
        assert add(node, b"%d:0" % name, key)
        done = 0
        for _ in range(300):
            item = gets(node, key)
            assert item.value == b"%d:%d" % (name, done)
            # The connections of before the read may all be in use, or closed.
            if cas(node, b"%d:%d" % (name, done + 1), item.token, key):
                done += 1
            assert node.get_many([key, "missing"], soon()).keys() == {key}
        assert done > 250

    with ThreadPoolExecutor(8) as pool:
        for future in [pool.submit(work, name) for name in range(8)]:
            future.result(20)
    assert int(server.stats()["curr_connections"]) <= 3 + 2
    assert node.counters.connects <= 3


def test_an_idle_connection_the_server_closed_is_replaced_without_a_failure(server, node_at):
    """A restart costs the first operation, of any kind, nothing but a reconnect."""
    node = node_at(server)
    operations = [
        lambda: gets(node),
        lambda: add(node, b"1", "k2"),
        lambda: node.get_many(["k"], soon()),
        lambda: node.delete("k", soon()),
        lambda: node.stats(soon()),
    ]
    for count, operation in enumerate(operations, start=1):
        gets(node)
        server.restart()
        operation()
        assert node.counters.reconnects == count


def test_one_closed_connection_marks_all_older_ones_as_closed(server, node_at):
    node = node_at(server)
    exchanges = [node.start_gets("k", soon()) for _ in range(4)]
    for exchange in exchanges:
        exchange.result()
    assert node._pool.idle == 4
    server.restart()
    gets(node)
    assert node._pool.idle == 1
    assert node.counters.reconnects == 1
    assert node.counters.connects == 5


def test_a_server_that_does_not_come_back_is_unreachable(server, node):
    add(node, b"1")
    token = gets(node).token
    server.kill()
    with pytest.raises(NodeUnreachableError):
        gets(node)
    with pytest.raises(NodeUnreachableError):
        add(node, b"2")
    assert cas(node, b"2", token) is False
    server.start()
    assert gets(node) is None


def test_a_recycled_cas_id_never_overwrites(server, node, node_at):
    """Cas ids start anew with the server: an old one may fit an item it was not read from."""
    add(node, b"old")
    token = gets(node).token
    server.restart()
    add(node_at(server), b"newer")
    assert gets(node_at(server)).token.unique == token.unique
    assert cas(node, b"from the old", token) is False
    # Also when there is a connection again, but one that is younger than the read.
    assert value(node) == b"newer"
    assert cas(node, b"from the old", token) is False
    assert value(node) == b"newer"
    assert cas(node, b"newest", gets(node).token) is True


def test_a_cas_takes_an_old_connection_from_among_young_ones(server, node):
    add(node, b"1")
    item = gets(node)
    exchanges = [node.start_gets("k", soon()) for _ in range(4)]
    for exchange in exchanges:
        exchange.result()
    assert item.token.horizon == 1
    assert cas(node, b"2", item.token) is True


def test_a_stopped_server_times_out_within_the_deadline(server, node_at):
    node = node_at(server, timeout=600, retry_attempts=0)
    add(node, b"1")
    server.pause()
    for operation in (
        lambda end: node.start_gets("k", end).result(),
        lambda end: node.start_add("k", b"2", TTL, end).result(),
        lambda end: node.delete("k", end),
    ):
        start = time.monotonic()
        with pytest.raises(NodeBusyError, match="timed out"):
            operation(start + 0.3)
        # Not by the time-out of one answer.
        assert 0.3 <= time.monotonic() - start < 60
    server.resume()
    # Commands sent meanwhile may be done by now; their replies are not read.
    assert gets(node, "other") is None


def test_a_timed_out_read_is_sent_again_once(server, node_at):
    pauses = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        server.resume()

    # The read that is sent again has this time as well, and is answered in it.
    node = node_at(server, timeout=1, retry_delay=0.03, sleep=sleep)
    add(node, b"1")
    for count, read in enumerate((gets, lambda node: node.get_many(["k"], soon())), start=1):
        server.pause()
        assert read(node)
        assert pauses == [0.03] * count
    server.pause()
    for write in (lambda: add(node, b"2", "k2"), lambda: node.delete("k", soon())):
        with pytest.raises(NodeBusyError):
            write()
    assert len(pauses) == 2


def test_a_server_out_of_connections_is_busy(memcached, node_at):
    server = memcached("-c", "16")
    hoard = []
    node = node_at(server, retry_attempts=0, pool_size=32, timeout=0.2)
    try:
        with pytest.raises(NoConnectionError, match="too many open connections"):
            for _ in range(32):
                exchange = node.start_gets("k", soon())
                hoard.append(exchange)
                exchange.result()
                hoard[-1] = node.start_gets("k", soon())
    finally:
        for exchange in hoard:
            exchange.abandon()
    wait_until(lambda: _answers(node), "a free connection")


def test_a_command_is_sent_when_a_server_that_was_out_of_connections_has_one_again(
    memcached, node_at
):
    server = memcached("-c", "16")
    hoard, pauses = [], []

    def rest(seconds):
        pauses.append(seconds)
        hoard.pop().close()

    node = node_at(server, retry_attempts=0, timeout=60.0, sleep=rest)
    try:
        while is_taken(connection := server.connect()):
            hoard.append(connection)
        connection.close()

        assert add(node, b"v") is True
    finally:
        for connection in hoard:
            connection.close()
    assert pauses


def is_taken(connection) -> bool:
    connection.sendall(b"version\r\n")
    return connection.recv(100).startswith(b"VERSION")


def _answers(node) -> bool:
    try:
        gets(node)
    except NodeError:
        return False
    return True


def test_a_password_is_given_on_every_connection(memcached, node_at, tmp_path):
    file = tmp_path / "passwords"
    file.write_text("user:secret\n")
    server = memcached(auth_file=file)
    node = node_at(server, auth=("user", "secret"))
    assert add(node, b"1")
    exchanges = [node.start_gets("k", soon()) for _ in range(3)]
    assert [exchange.result().value for exchange in exchanges] == [b"1"] * 3
    assert node.counters.connects == 3
    for auth, reason in ((None, "wants a password"), (("user", "wrong"), "refused the password")):
        with pytest.raises(NodeUnreachableError, match=reason) as caught:
            gets(node_at(server, auth=auth))
        assert "wrong" not in str(caught.value)


def test_a_password_does_not_stay_in_a_server_that_asks_for_none(server, node_at):
    node = node_at(server, auth=("user", "secret"))
    assert add(node, b"1")
    assert gets(node, "auth") is None


def test_a_unix_socket_is_an_address_like_any_other(memcached, node_at, tmp_path):
    server = memcached(path=tmp_path / "socket")
    node = node_at(server)
    assert add(node, b"1")
    assert cas(node, b"2", gets(node).token) is True
    node.resolve()
    server.kill()
    with pytest.raises(NodeUnreachableError):
        gets(node)


def test_ipv6_is_an_address_like_any_other(memcached, node_at):
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no ::1")
    node = node_at(memcached(host="::1"))
    assert add(node, b"1")
    assert value(node) == b"1"


def test_a_name_with_several_addresses_is_reached_at_the_one_that_listens(
    memcached, node_at, monkeypatch
):
    """``localhost`` is ``::1`` first on many machines, and memcached is often not there."""
    server = memcached()
    with closing(socket.create_server(("127.0.0.2", 0))) as elsewhere:
        unused = elsewhere.getsockname()[1]
    addresses = [("127.0.0.2", unused), ("127.0.0.1", server.port)]
    _resolves_to(monkeypatch, *addresses)
    node = node_at(host="memcached.test", port=server.port)
    node.resolve()
    assert add(node, b"1")
    # The one that worked is tried first from then on.
    _resolves_to(monkeypatch, addresses[1], addresses[0])
    node.resolve()
    assert value(node) == b"1"
    assert node.counters.connects == 1


def test_connections_follow_a_name_that_moves(memcached, node_at, monkeypatch):
    before, after = memcached(), memcached()
    _resolves_to(monkeypatch, ("127.0.0.1", before.port))
    node = node_at(host="memcached.test", port=before.port)
    assert add(node, b"before")
    in_use = node.start_gets("k", soon())
    _resolves_to(monkeypatch, ("127.0.0.1", after.port))
    node.resolve()
    assert in_use.result().value == b"before"
    assert gets(node) is None


def _resolves_to(monkeypatch, *addresses):
    real = socket.getaddrinfo

    def getaddrinfo(host, port, *args, flags=0, **kwargs):
        if host != "memcached.test":
            return real(host, port, *args, flags=flags, **kwargs)
        if flags & socket.AI_NUMERICHOST:
            raise socket.gaierror(socket.EAI_NONAME, "not a number")
        return [
            (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", address)
            for address in addresses
        ]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


def test_nagle_is_off_and_dead_hosts_are_noticed(node):
    gets(node)
    (connection,) = node._pool.unused
    assert connection.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    if hasattr(socket, "TCP_KEEPIDLE"):
        assert connection.socket.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


def test_a_client_without_references_is_collected_with_its_connections(server):
    before = server.stats()["curr_connections"]
    node = MemcachedNode(
        "n1", host=server.host, port=server.port, connect_timeout=60, timeout=60, pool_size=2
    )
    gets(node)
    gone = weakref.ref(node)
    del node
    gc.collect()
    assert gone() is None
    wait_until(lambda: server.stats()["curr_connections"] == before, "the connection to be closed")


def test_failed_exchanges_leave_nothing_to_collect(server, node_at):
    """Failures come in great numbers, just when there is no time for a garbage collection."""
    node = node_at(server, retry_attempts=0)
    server.kill()
    gc.collect()
    gc.disable()
    try:
        for operation in (
            gets,
            lambda node: node.delete("k", soon()),
            lambda node: node.start_gets("k", soon()),
        ):
            with suppress(NodeUnreachableError):
                operation(node)
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_a_signal_while_waiting_leaves_nothing_behind(server, node_at):
    """Wherever a thread waits: for the server, for a connection, for the next attempt."""
    node = node_at(server, pool_size=1)
    node.item_size_max = 64 * 1024 * 1024
    add(node, b"1")
    add(node, b"2", "other")
    held = []
    large = b"x" * (16 * 1024 * 1024)

    def wait_for_a_reply():
        gets(node)

    def wait_for_a_place():
        held.append(node.start_gets("k", soon()))
        node.start_gets("k", soon())

    def wait_for_the_server_to_take_a_value():
        node.start_add("large", large, TTL, soon())

    class Interrupted(BaseException):
        pass

    def interrupt(number, frame):
        raise Interrupted

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        for wait in (wait_for_a_reply, wait_for_a_place, wait_for_the_server_to_take_a_value):
            server.pause()
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            with pytest.raises(Interrupted) as caught:
                wait()
            server.resume()
            held.clear()
            assert node._pool.free == 1
            assert value(node, "other") == b"2"
            # All that holds for as long as the traceback is referenced.
            assert caught.value.__traceback__ is not None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
