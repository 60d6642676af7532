"""The quick commands: what they take for an answer, and what they leave behind."""

from __future__ import annotations

import time
from contextlib import ExitStack

import pytest
from support import behaviours

from flask_msm.memcached import wire
from flask_msm.testing.fake_server import FakeServer


pytestmark = pytest.mark.memcached

KEY, TTL = b"k", 60


def soon(seconds: float = 100.0) -> float:
    return time.monotonic() + seconds


def read(node, name=KEY, deadline=None):
    asked = ask(node, name, soon() if deadline is None else deadline)
    return node.quick.receive_item(asked, b"VALUE %b " % name) if asked else None


def ask(node, name=KEY, deadline=None):
    return node.quick.send(wire.gets([name]), soon() if deadline is None else deadline)


def places(node):
    return node._pool.free, node._pool.idle


@pytest.fixture
def opened(memcached, node_at):
    """A node with one place and an open connection."""
    node = node_at(memcached(), pool_size=1)
    assert node.start_add("k", b"value", TTL, soon()).result()
    return node


@pytest.fixture
def peer():
    with ExitStack() as stack:
        yield lambda *args: stack.enter_context(FakeServer(*args))


@pytest.mark.parametrize("size", [0, 1, 450, 65_000, 65_536, 300_000, 1_000_000])
def test_an_item_is_read_as_the_usual_read_returns_it(opened, size):
    value = bytes(size // 2) + b"\r\nEND\r\n" * (size // 14)
    assert opened.start_add("sized", value, TTL, soon()).result()

    item = read(opened, b"sized")

    assert item == opened.start_gets("sized", soon()).result()
    assert item.value == value
    assert places(opened) == (1, 1)


def test_the_token_replaces_what_was_read_and_nothing_newer(opened):
    item, old = read(opened), read(opened)

    assert opened.start_cas("k", b"new", TTL, item.token, soon()).result() is True
    assert opened.start_cas("k", b"newer", TTL, old.token, soon()).result() is False


class Pieces:
    """A socket that has received these pieces."""

    def __init__(self, *pieces):
        self.pieces = [*pieces]

    def send(self, data):
        return len(data)

    def recv(self, size):
        return self.pieces.pop(0)

    def settimeout(self, seconds):
        pass

    def close(self):
        pass


def test_replies_to_several_commands_may_come_one_by_one(opened):
    """As from memcached before 1.6, and from proxies."""
    opened._pool.unused[0].socket.close()
    opened._pool.unused[0].socket = Pieces(b"STORED\r\n", b"VALUE k 0 1 7\r\nv\r\nEND\r\n")

    item = opened.quick.receive_item(ask(opened), b"STORED\r\nVALUE k ")

    assert (item.value, item.token.unique) == (b"v", b"7")
    assert places(opened) == (1, 1)


def test_an_item_that_is_not_there_is_no_answer(opened):
    assert read(opened, b"other") is None
    assert opened._pool.free == 1


def test_without_an_idle_connection_nothing_is_sent(memcached, node_at):
    node = node_at(memcached(), pool_size=1)

    assert ask(node) is None
    assert places(node) == (1, 0)


def test_without_a_free_place_nothing_is_sent(opened):
    held = opened.start_gets("k", soon())

    assert ask(opened) is None

    assert held.result().value == b"value"
    assert read(opened).value == b"value"


def test_with_less_time_than_an_answer_may_take_nothing_is_sent(opened):
    assert ask(opened, deadline=soon(1.0)) is None
    assert places(opened) == (1, 1)


def test_a_read_that_is_given_up_closes_its_connection(opened):
    opened.quick.abandon(ask(opened))

    assert places(opened) == (1, 0)
    assert opened.start_gets("k", soon()).result().value == b"value"


def test_a_server_that_was_restarted_gives_no_answer_and_the_usual_read_finds_it(
    memcached, node_at
):
    server = memcached()
    node = node_at(server, pool_size=1)
    assert node.start_add("k", b"value", TTL, soon()).result()
    server.kill()
    server.start()

    assert read(node) is None
    assert node.start_gets("k", soon()).result() is None
    assert node._pool.free == 1


ITEM = b"VALUE k 0 5 7\r\nvalue\r\nEND\r\n"
NO_ANSWERS = {
    "nothing there": b"END\r\n",
    "another key": b"VALUE l 0 5 7\r\nvalue\r\nEND\r\n",
    "a key that begins like it": b"VALUE kk 0 5 7\r\nvalue\r\nEND\r\n",
    "no cas id": b"VALUE k 0 5\r\nvalue\r\nEND\r\n",
    "a cas id that is none": b"VALUE k 0 5 x\r\nvalue\r\nEND\r\n",
    "a length that is none": b"VALUE k 0 x 7\r\nvalue\r\nEND\r\n",
    "a negative length": b"VALUE k 0 -5 7\r\nvalue\r\nEND\r\n",
    "a length beyond all limits": b"VALUE k 0 99999999999 7\r\nvalue",
    "a value that is longer": b"VALUE k 0 4 7\r\nvalue\r\nEND\r\n",
    "two items": b"VALUE k 0 5 7\r\nvalue\r\nVALUE k 0 5 7\r\nvalue\r\nEND\r\n",
    "more behind it": ITEM + b"END\r\n",
    "an error": b"SERVER_ERROR out of memory\r\n",
    "a line without an end": b"VALUE k " + b"0" * 3000,
    "another protocol": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "zeros": bytes(3000),
}


@pytest.mark.parametrize("reply", NO_ANSWERS.values(), ids=NO_ANSWERS)
def test_a_reply_that_is_not_the_item_is_no_answer_and_closes_the_connection(reply, peer, node_at):
    node = node_at(peer(behaviours.answers(ITEM, reply)), pool_size=1)
    assert node.start_gets("k", soon()).result().value == b"value"

    assert read(node) is None

    assert places(node) == (1, 0)


SILENT = {
    "says nothing": behaviours.answers(ITEM),
    "closes": behaviours.answers_and_closes(ITEM),
    "closes within the item": behaviours.answers_and_closes(ITEM, ITEM[:20]),
    "stops within the item": behaviours.answers(ITEM, ITEM[:20]),
    "stops within the line": behaviours.answers(ITEM, ITEM[:9]),
}


@pytest.mark.parametrize("behaviour", SILENT.values(), ids=SILENT)
def test_a_node_that_does_not_answer_in_time_gives_none(behaviour, peer, node_at):
    node = node_at(peer(behaviour), pool_size=1, timeout=0.2)
    assert node.start_gets("k", soon()).result().value == b"value"

    assert read(node) is None

    assert places(node) == (1, 0)


def replace(node, value, token, name=KEY):
    sent = node.quick.send(wire.cas(name, value, TTL, token.unique), soon(), token.horizon)
    return node.quick.receive_line(sent) == b"STORED\r\n" if sent else None


def test_an_item_is_replaced_once_by_what_it_was_read_with(opened):
    item = read(opened)

    assert replace(opened, b"new", item.token) is True
    assert replace(opened, b"newer", item.token) is False

    assert opened.start_gets("k", soon()).result().value == b"new"
    assert opened._pool.free == 1


def test_an_item_that_is_gone_is_not_replaced(opened):
    item = read(opened)
    assert opened.delete("k", soon())

    assert replace(opened, b"new", item.token) is False
    assert opened.start_gets("k", soon()).result() is None


def test_a_token_of_before_a_restart_replaces_nothing(memcached, node_at):
    """The cas ids of a server begin anew, so that an old one may fit another item."""
    server = memcached()
    node = node_at(server, pool_size=1)
    assert node.start_add("k", b"value", TTL, soon()).result()
    item = read(node)
    server.kill()
    server.start()
    assert node.start_add("k", b"other", TTL, soon()).result()

    assert replace(node, b"new", item.token) is None

    assert node.start_gets("k", soon()).result().value == b"other"
    assert node._pool.free == 1


@pytest.mark.parametrize("behaviour", SILENT.values(), ids=SILENT)
def test_a_change_that_is_not_confirmed_does_not_count(behaviour, peer, node_at):
    node = node_at(peer(behaviour), pool_size=1, timeout=0.2)
    item = node.start_gets("k", soon()).result()

    assert replace(node, b"new", item.token) is False

    assert places(node) == (1, 0)


@pytest.mark.parametrize(
    ("reply", "usual"),
    [
        (b"EXISTS\r\n", True),
        (b"NOT_FOUND\r\n", True),
        (b"STORED\r\nSTORED\r\n", False),
        (b"STO", False),
        (b"SERVER_ERROR x\r\n", False),
        (b"ERROR\r\n", False),
    ],
)
def test_a_reply_that_is_not_stored_does_not_count(reply, usual, peer, node_at):
    node = node_at(peer(behaviours.answers(ITEM, reply)), pool_size=1)
    item = node.start_gets("k", soon()).result()

    assert replace(node, b"new", item.token) is False

    # Only behind a reply that was read to its end the connection is used again.
    assert places(node) == (1, int(usual))


def test_the_cas_id_of_an_item_is_asked_for_without_its_value(opened):
    item = read(opened)

    def look():
        return opened.quick.receive_line(opened.quick.send(wire.look(KEY), soon()))

    assert look() == b"HD c%b\r\n" % item.token.unique
    assert replace(opened, b"new", item.token)
    assert look() == b"HD c%b\r\n" % read(opened).token.unique
    assert opened.delete("k", soon())
    assert look() == b"EN\r\n"
    assert places(opened) == (1, 1)


def test_to_look_at_an_item_keeps_it_from_being_evicted_as_to_read_it_does(memcached, node_at):
    """Else the sessions in use of which the values are known would go first."""
    kept = {}
    for name, command in (("read", wire.gets([KEY])), ("look", wire.look(KEY))):
        node = node_at(memcached("-m", "2"))
        assert node.start_add("k", bytes(3000), TTL, soon()).result()
        for number in range(3000):
            node.start_add(f"other{number}", bytes(3000), TTL, soon()).result()
            asked = node.quick.send(command, soon())
            assert asked is not None
            if name == "read":
                node.quick.receive_item(asked, b"VALUE k ")
            else:
                node.quick.receive_line(asked)
        assert int(node.stats(soon())["evictions"]) > 1000
        kept[name] = node.start_gets("k", soon()).result() is not None
    assert kept == {"read": True, "look": True}
