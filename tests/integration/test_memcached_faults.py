"""One memcached node that misbehaves: what it counts as, what ends the wait, what is left."""

from __future__ import annotations

import errno
import socket
import ssl
import threading
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from support import behaviours

from flask_msm.errors import NodeBusyError, NodeError, NodeUnreachableError, NodeValueError
from flask_msm.memcached.failures import NoConnectionError, NotSentError
from flask_msm.testing.fake_server import FakeServer
from flask_msm.testing.memcached import free_port
from harness.memcached import Memcached


LOCALHOST = Path(behaviours.__file__).with_name("localhost.pem")
TTL = 60


#: What takes so long (seconds) hangs; what is asked to end after a moment does so long before.
HANGS = 30.0
#: A time-out (seconds) that is to run out.
SHORT = 0.1


def soon(seconds: float = 60.0) -> float:
    return time.monotonic() + seconds


@contextmanager
def ends_after(seconds):
    """The block ends when this time is over, and not when something else is."""
    start = time.monotonic()
    yield
    assert 0.9 * seconds < time.monotonic() - start < HANGS


OPERATIONS = {
    "gets": lambda node, end: node.start_gets("k", end).result(),
    "add": lambda node, end: node.start_add("k", b"v", TTL, end).result(),
    "get_many": lambda node, end: node.get_many(["k", "l"], end),
    "delete": lambda node, end: node.delete("k", end),
    "stats": lambda node, end: node.stats(end),
}


@pytest.fixture(params=OPERATIONS)
def operation(request):
    return OPERATIONS[request.param]


@pytest.fixture
def peer():
    with ExitStack() as stack:
        yield lambda *args, **options: stack.enter_context(FakeServer(*args, **options))


TOO_MANY = b"ERROR Too many open connections\r\n"
FAULTS = {
    "closes": (behaviours.closes, NodeUnreachableError, "closed the connection"),
    "resets": (behaviours.resets, NodeUnreachableError, "closed the connection"),
    "is silent": (behaviours.is_silent, NodeBusyError, "timed out"),
    "does not read": (behaviours.reads_nothing, NodeBusyError, "timed out"),
    "too many": (behaviours.answers(TOO_MANY), NoConnectionError, "too many"),
    "too many, unasked": (behaviours.greets_and_closes(TOO_MANY), NoConnectionError, "too many"),
    "out of memory": (
        behaviours.answers(b"SERVER_ERROR out of memory\r\n"),
        NodeValueError,
        "out of memory",
    ),
    "server error": (behaviours.answers(b"SERVER_ERROR x\r\n"), NodeBusyError, "server error"),
    "unauthenticated": (
        behaviours.answers(b"CLIENT_ERROR unauthenticated\r\n"),
        NodeUnreachableError,
        "password",
    ),
    "client error": (behaviours.answers(b"CLIENT_ERROR x\r\n"), NodeValueError, "the command"),
    "error": (behaviours.answers(b"ERROR x\r\n"), NodeUnreachableError, "know the command"),
    "half": (behaviours.answers_and_closes(b"VALUE k 0"), NodeUnreachableError, "speak memcached"),
} | {
    f"garbage {number}": (behaviours.answers(data), NodeUnreachableError, "speak memcached")
    for number, data in enumerate(
        [
            b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n",
            b"-ERR unknown command\r\n",
            b"STORED\r\nSTORED\r\n",
            b"VALUE other 0 1 1\r\nv\r\nEND\r\n",
            b"VALUE k 0 99999999999 1\r\n",
            b"x" * 5000,
            b"\0" * 5000,
        ]
    )
}


@pytest.mark.parametrize(("behaviour", "meaning", "reason"), FAULTS.values(), ids=FAULTS)
def test_a_misbehaving_node_fails_as_the_table_says(
    operation, behaviour, meaning, reason, peer, node_at
):
    """For each operation the time-out holds, and nothing of it reaches the next one."""
    waits = reason in {"timed out", "too many"}
    limits = {"timeout": SHORT} if waits else {}
    node = node_at(peer(behaviour), pool_size=1, retry_attempts=0, **limits)
    start = time.monotonic()
    with pytest.raises(meaning, match=reason):
        operation(node, soon())
    assert time.monotonic() - start < HANGS
    assert node._pool.idle == 0
    assert node._pool.free == 1


@pytest.mark.parametrize(
    ("answer", "meaning"),
    [
        (TOO_MANY, NoConnectionError),
        (b"SERVER_ERROR out of memory storing object\r\n", NodeValueError),
        (b"SERVER_ERROR object too large for cache\r\n", NodeValueError),
        (b"SERVER_ERROR x\r\n", NodeBusyError),
        (b"CLIENT_ERROR unauthenticated\r\n", NodeUnreachableError),
        (b"ERROR\r\nERROR\r\n", NodeUnreachableError),
        (b"NOT_STORED\r\n", NodeUnreachableError),
        (b"STO", NodeBusyError),
    ],
)
def test_a_cas_fails_as_the_table_says(answer, meaning, peer, node_at):
    item = b"VALUE k 0 1 7\r\nv\r\nEND\r\n"
    node = node_at(peer(behaviours.answers(item, answer)), pool_size=1)
    token = OPERATIONS["gets"](node, soon()).token
    with pytest.raises(meaning):
        node.start_cas("k", b"w", TTL, token, soon(0.5 if answer == b"STO" else 60)).result()
    assert node._pool.idle == 0
    assert node._pool.free == 1


def test_an_unknown_command_is_a_hard_failure_but_for_statistics(operation, peer, node_at):
    """Proxies give no statistics; their sessions are as good as any."""
    node = node_at(peer(behaviours.answers(b"ERROR\r\n")))
    refused = NodeValueError if operation is OPERATIONS["stats"] else NodeUnreachableError
    with pytest.raises(refused):
        operation(node, soon())


def test_a_dripping_node_does_not_stretch_the_deadline(peer, node_at):
    """Each byte comes in time for a time-out that begins anew with each byte."""
    item = b"VALUE k 0 90000 1\r\n" + b"v" * 90_000 + b"\r\nEND\r\n"
    node = node_at(peer(behaviours.drips(item, 0.03)), timeout=SHORT, retry_attempts=0)
    with ends_after(SHORT), pytest.raises(NodeBusyError):
        node.start_gets("k", soon(600)).result()
    node = node_at(peer(behaviours.drips(item, 0.03)), timeout=600, retry_attempts=0)
    with ends_after(0.5), pytest.raises(NodeBusyError):
        node.start_gets("k", soon(0.5)).result()


@pytest.mark.memcached
def test_a_connection_cut_anywhere_is_a_failure_or_a_reply_never_half_of_one(
    memcached, peer, node_at
):
    server = memcached()
    direct = node_at(server)
    direct.start_add("k", b"value", TTL, soon()).result()
    item = direct.start_gets("k", soon()).result()
    whole = len(b"VALUE k 0 5 %b\r\nvalue\r\nEND\r\n" % item.token.unique)
    for limit in range(1, whole):
        node = node_at(peer(behaviours.forwards(server.port, limit=limit)), retry_attempts=0)
        with pytest.raises(NodeUnreachableError):
            node.start_gets("k", soon()).result()
    node = node_at(peer(behaviours.forwards(server.port, limit=whole)), pool_size=1)
    for _ in range(3):
        # The server closes after each reply, which the next command finds out.
        assert node.start_gets("k", soon()).result().value == b"value"
    assert node.counters.connects == 3


def test_only_a_connection_from_the_pool_is_worth_a_second_one(peer, node_at):
    """A node that closes fresh connections would be asked for ever."""
    server = peer(behaviours.closes)
    with pytest.raises(NodeUnreachableError):
        OPERATIONS["gets"](node_at(server), soon())
    assert server.calls == 1
    server = peer(behaviours.in_turn(behaviours.answers_and_closes(b"END\r\n"), behaviours.closes))
    node = node_at(server)
    assert OPERATIONS["gets"](node, soon()) is None
    with pytest.raises(NodeUnreachableError):
        OPERATIONS["gets"](node, soon())
    assert server.calls == 2
    assert node.counters.reconnects == 1


def test_a_command_whose_answer_began_is_not_sent_again(peer, node_at):
    """Half an answer means that the server did it."""
    server = peer(
        behaviours.in_turn(
            behaviours.answers_and_closes(b"END\r\n", b"NOT"), behaviours.answers(b"STORED\r\n")
        )
    )
    node = node_at(server)
    OPERATIONS["gets"](node, soon())
    with pytest.raises(NodeUnreachableError):
        OPERATIONS["add"](node, soon())
    assert server.calls == 1


def test_a_cas_is_never_sent_twice(peer, node_at):
    item = b"VALUE k 0 1 7\r\nv\r\nEND\r\n"
    server = peer(
        behaviours.in_turn(behaviours.answers_and_closes(item), behaviours.answers(b"STORED\r\n"))
    )
    node = node_at(server)
    token = OPERATIONS["gets"](node, soon()).token
    assert node.start_cas("k", b"w", TTL, token, soon()).result() is False
    assert server.calls == 1
    assert node._pool.free == 8


def test_a_cas_that_is_not_answered_is_unknown_not_false(peer, node_at):
    item = b"VALUE k 0 1 7\r\nv\r\nEND\r\n"
    node = node_at(peer(behaviours.answers(item)))
    token = OPERATIONS["gets"](node, soon()).token
    with pytest.raises(NodeBusyError):
        node.start_cas("k", b"w", TTL, token, soon(0.5)).result()


def test_a_busy_node_is_read_from_again_after_a_pause(peer, node_at):
    pauses = []
    server = peer(
        behaviours.in_turn(
            behaviours.greets_and_closes(b"ERROR Too many open connections\r\n"),
            behaviours.answers(b"END\r\n"),
        )
    )
    node = node_at(server, retry_delay=0.01, sleep=pauses.append)
    assert OPERATIONS["gets"](node, soon()) is None
    assert pauses == [0.01]


def test_a_node_without_a_connection_is_not_asked_again_when_its_answer_could_not_be_waited_for(
    peer, node_at
):
    """Else it would seem to hang, and be suspect for that."""
    refuses = behaviours.greets_and_closes(TOO_MANY)
    server = peer(behaviours.in_turn(refuses, behaviours.is_silent))
    node = node_at(server, timeout=1, retry_delay=0.8, sleep=lambda _: None)

    with pytest.raises(NoConnectionError):
        OPERATIONS["gets"](node, soon(1))

    assert server.calls == 1


@pytest.mark.parametrize("read", ["gets", "get_many"])
def test_half_an_answer_is_forgotten_before_the_read_is_sent_again(read, peer, node_at):
    item = b"VALUE k 0 1 7\r\nv\r\nEND\r\n"
    server = peer(behaviours.in_turn(behaviours.answers(item[:-5]), behaviours.answers(item)))
    assert OPERATIONS[read](node_at(server, timeout=1), soon())
    assert server.calls == 2


@pytest.mark.parametrize(
    "reply",
    [
        b"BUSY currently processing crawler request\r\n",
        # From memcached 1.6.28 on, while its hash table grows.
        b"OK\r\nERROR locked try again later\r\n",
    ],
)
def test_a_listing_waits_for_its_turn(reply, peer, node_at):
    busy = behaviours.answers(reply)
    digest = b"a" * 40
    listed = b"key=m%%3A%b exp=-1 la=1 cas=2 fetch=no cls=1 size=63\nEND\r\n" % digest
    pauses, handed = [], []
    server = peer(behaviours.in_turn(*[busy] * 60, behaviours.answers(listed)))
    node = node_at(server, sleep=pauses.append)

    node.list_digests("m:", "a", 40, handed.append, soon())

    assert handed == [[digest]]
    assert len(pauses) == 60


def test_a_node_from_before_it_could_walk_its_hash_table_lists_its_keys_by_class(peer, node_at):
    """memcached before 1.6.9 takes ``hash`` for the number of a class."""
    keys = b"key=m%3A1 exp=-1 la=1 cas=2 fetch=no cls=1 size=63\nEND\r\n"
    replies = {
        b"lru_crawler metadump hash\r\n": b"BADCLASS invalid class id\r\n",
        b"lru_crawler metadump all\r\n": keys,
    }
    server = peer(lambda client: client.send(replies[client.recv()]))

    assert node_at(server).metadump("m:", soon()) == ["m:1"]


def test_what_tests_ask_for_keys_knows_that_a_listing_may_begin_with_ok(peer):
    """As from memcached 1.6.43 on."""
    keys = b"OK\r\nkey=m%3A1 exp=-1 la=1 cas=2 fetch=no cls=1 size=63\nEND\r\n"
    process = Memcached()
    process.port = peer(behaviours.answers(keys)).port

    assert process.all_keys() == ["m:1"]


def test_what_tests_ask_for_keys_asks_by_class_where_it_must(peer):
    """As before memcached 1.6.9."""
    keys = b"key=m%3A1 exp=-1 la=1 cas=2 fetch=no cls=1 size=63\r\nEND\r\n"
    replies = {
        b"lru_crawler metadump hash\r\n": b"BADCLASS invalid class id\r\n",
        b"lru_crawler metadump all\r\n": keys,
    }
    process = Memcached()
    process.port = peer(lambda client: client.send(replies[client.recv()])).port

    assert process.all_keys() == ["m:1"]


def test_a_listing_is_asked_for_again_when_the_node_had_no_connection_left(peer, node_at):
    listed = b"key=m%%3A%b exp=-1 la=1 cas=2 fetch=no cls=1 size=63\nEND\r\n" % (b"a" * 40)
    server = peer(
        behaviours.in_turn(behaviours.greets_and_closes(TOO_MANY), behaviours.answers(listed))
    )
    handed = []

    node_at(server, sleep=lambda _: None).list_digests("m:", "a", 40, handed.append, soon())

    assert handed == [[b"a" * 40]]


def test_failures_to_send_come_out_of_the_result(node_at):
    """A caller that starts two commands must get to the second one."""
    node = node_at(host="127.0.0.1", port=free_port())
    exchanges = [
        node.start_gets("k", soon()),
        node.start_add("k", b"v", TTL, soon()),
        node.start_gets("k", time.monotonic()),
    ]
    for exchange in exchanges:
        with pytest.raises(NodeError):
            exchange.result()
    assert node._pool.free == 8


@pytest.fixture
def silent_port():
    """A port that answers no connection, as behind a firewall that drops packets.

    A full queue of connections is one, and at hand everywhere.
    """
    with socket.socket() as listener, ExitStack() as stack:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        while True:
            filler = stack.enter_context(socket.socket())
            filler.settimeout(0.1)
            try:
                filler.connect(("127.0.0.1", port))
            except TimeoutError:
                break
        yield port


@pytest.mark.parametrize(("connect_timeout", "deadline"), [(SHORT, 600), (600, 0.5)])
def test_an_address_that_never_answers_times_out(connect_timeout, deadline, silent_port, node_at):
    node = node_at(
        host="127.0.0.1", port=silent_port, connect_timeout=connect_timeout, retry_attempts=0
    )
    ending = ends_after(min(connect_timeout, deadline))
    with ending, pytest.raises(NodeBusyError, match="timed out"):
        OPERATIONS["gets"](node, soon(deadline))


def test_an_address_that_never_answers_leaves_the_others_their_time(
    silent_port, peer, node_at, monkeypatch
):
    server = peer(behaviours.answers(b"END\r\n"))
    node = node_at(host="127.0.0.1", port=1, connect_timeout=2, retry_attempts=0)
    (address,) = node._addresses.known
    node._addresses.known = tuple(
        address._replace(address=("127.0.0.1", port)) for port in (silent_port, server.port)
    )
    assert OPERATIONS["gets"](node, soon()) is None
    # The next connection goes to the one that answered, at once.
    assert [known.address[1] for known in node._addresses.known] == [server.port, silent_port]
    node.close()
    OPERATIONS["gets"](node, soon())
    assert server.calls == 2


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no unix sockets")
def test_a_full_unix_socket_is_busy_and_a_missing_one_unreachable(node_at, tmp_path):
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as listener, ExitStack() as stack:
        listener.bind(str(path))
        listener.listen(0)
        while True:
            filler = stack.enter_context(socket.socket(socket.AF_UNIX))
            filler.setblocking(False)
            try:
                filler.connect(str(path))
            except BlockingIOError:
                break
        with pytest.raises(NodeBusyError, match=r"queue|timed out"):
            OPERATIONS["gets"](node_at(path=str(path), retry_attempts=0), soon())
    with pytest.raises(NodeUnreachableError):
        OPERATIONS["gets"](node_at(path=str(path)), soon())
    with pytest.raises(NodeUnreachableError, match="No such file"):
        OPERATIONS["gets"](node_at(path=str(tmp_path / "missing")), soon())


def test_a_name_that_does_not_resolve_is_unreachable(node_at, monkeypatch):
    def getaddrinfo(*args, **kwargs):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    node = node_at(host="memcached.test", port=11211)
    with pytest.raises(NodeUnreachableError, match="does not resolve"):
        OPERATIONS["gets"](node, soon())
    with pytest.raises(NodeUnreachableError, match="does not resolve"):
        node.resolve()


def test_a_slow_name_server_does_not_stretch_the_deadline(peer, node_at, monkeypatch):
    """``getaddrinfo`` has no time-out. It goes on behind the request; later ones profit."""
    server = peer(behaviours.answers(b"END\r\n"))
    answer, asked = threading.Event(), []
    real = socket.getaddrinfo

    def getaddrinfo(host, port, *args, flags=0, **kwargs):
        if host != "memcached.test":
            return real(host, port, *args, flags=flags, **kwargs)
        if flags & socket.AI_NUMERICHOST:
            raise socket.gaierror(socket.EAI_NONAME, "not a number")
        asked.append(host)
        answer.wait(600)
        return real("127.0.0.1", server.port, *args, flags=flags, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    node = node_at(host="memcached.test", port=1, connect_timeout=SHORT, retry_attempts=0)
    for _ in range(2):
        with ends_after(SHORT), pytest.raises(NodeBusyError, match="timed out"):
            OPERATIONS["gets"](node, soon())
    assert len(asked) == 1
    answer.set()
    node._addresses._lookup.join(60)
    assert OPERATIONS["gets"](node, soon()) is None
    assert len(asked) == 1


def test_a_want_of_threads_is_not_blamed_on_a_node_whose_name_is_looked_up(node_at, monkeypatch):
    def refuse(self):
        raise RuntimeError("can't start new thread")

    node = node_at(host="localhost", port=free_port())
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        for _ in range(2):
            with pytest.raises(NotSentError):
                OPERATIONS["gets"](node, soon())
    with pytest.raises(NodeUnreachableError):
        OPERATIONS["gets"](node, soon())


@pytest.mark.parametrize(
    ("number", "meaning"),
    [(errno.EMFILE, NotSentError), (errno.ENOBUFS, NotSentError)],
)
def test_a_want_of_descriptors_is_not_blamed_on_the_node(number, meaning, node_at, monkeypatch):
    def no_socket(*args):
        raise OSError(number, "none left")

    node = node_at(host="127.0.0.1", port=1)
    with monkeypatch.context() as patched:
        patched.setattr(socket, "socket", no_socket)
        with pytest.raises(meaning):
            OPERATIONS["gets"](node, soon())


def server_tls():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(LOCALHOST)
    return context


def client_tls():
    return ssl.create_default_context(cafile=str(LOCALHOST))


@pytest.mark.memcached
def test_tls_is_spoken_and_the_host_is_verified(memcached, peer, node_at):
    server = memcached()
    door = peer(behaviours.over_tls(server_tls(), behaviours.forwards(server.port)))
    node = node_at(door, tls_context=client_tls())
    large = b"x" * 900_000
    assert node.start_add("k", large, TTL, soon()).result() is True
    item = node.start_gets("k", soon()).result()
    assert item.value == large
    assert node.start_cas("k", b"small", TTL, item.token, soon()).result() is True
    # By name as well: the certificate must name what was configured, not where it is.
    named = node_at(host="localhost", port=door.port, tls_context=client_tls())
    assert named.start_gets("k", soon()).result().value == b"small"
    assert door.calls == 2


@pytest.mark.memcached
def test_a_tls_connection_the_server_closed_is_replaced(memcached, peer, node_at):
    server = memcached()
    door = peer(behaviours.over_tls(server_tls(), behaviours.forwards(server.port)))
    node = node_at(door, tls_context=client_tls())
    for _ in range(2):
        assert OPERATIONS["gets"](node, soon()) is None
        server.restart()
    assert OPERATIONS["gets"](node, soon()) is None
    assert node.counters.reconnects == 2


def test_tls_errors_are_hard_failures(peer, node_at):
    door = peer(behaviours.over_tls(server_tls(), behaviours.is_silent))
    stranger = ssl.create_default_context()
    node = node_at(door, tls_context=stranger)
    with pytest.raises(NodeUnreachableError, match="certificate"):
        OPERATIONS["gets"](node, soon())
    node = node_at(host="127.0.0.2", port=door.port, tls_context=client_tls())
    with pytest.raises(NodeUnreachableError):
        OPERATIONS["gets"](node, soon())
    # Not TLS at all on the other side.
    for behaviour in (behaviours.answers(b"ERROR\r\n"), behaviours.closes):
        node = node_at(peer(behaviour), tls_context=client_tls())
        with pytest.raises(NodeUnreachableError):
            OPERATIONS["gets"](node, soon())


def test_a_tls_handshake_is_within_the_time_to_connect(peer, node_at):
    for behaviour in (
        behaviours.is_silent,
        behaviours.drips(b"\x16\x03\x03\x10\x00" + b"x" * 4096, 0.03),
    ):
        node = node_at(
            peer(behaviour), tls_context=client_tls(), connect_timeout=SHORT, retry_attempts=0
        )
        with ends_after(SHORT), pytest.raises(NodeBusyError, match="timed out"):
            OPERATIONS["gets"](node, soon())


def test_no_message_has_a_key_or_a_value(operation, peer, node_at):
    node = node_at(peer(behaviours.answers(b"VALUE secretkey 0 11 1\r\nsecretvalue\r\nEND\r\n")))
    with pytest.raises(NodeError) as caught:
        operation(node, soon())
    error: BaseException | None = caught.value
    while error is not None:
        assert "secret" not in str(error)
        error = error.__cause__ or error.__context__
