"""One memcached node, interrupted at every line of every operation.

What a signal handler, a greenlet time-out or a closing generator raises is no ``Exception`` and
comes anywhere. After it the connection must not be used again, for its next reply would be that
of the interrupted command, and its place in the pool must be free.
"""

from __future__ import annotations

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support import behaviours

from flask_msm.errors import NodeError
from flask_msm.memcached import client as module
from flask_msm.testing.fake_server import FakeServer


pytestmark = pytest.mark.memcached

FOLDER = str(Path(module.__file__).parent)
TTL = 60


class Interrupted(BaseException):
    """What a signal handler would raise."""


def soon(seconds: float = 60.0) -> float:
    return time.monotonic() + seconds


def interrupted(operation, at: int) -> bool:
    """Run *operation*; interrupt it at the event *at* within the client, if it gets that far.

    Destructors are left out: what is raised there, Python swallows. It runs in a thread of its
    own, because an exception out of a trace function may leave another one behind as "being
    handled" for as long as its thread lives.
    """
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(_interrupted, operation, at).result(60)


def _interrupted(operation, at: int) -> bool:
    count = 0

    def trace(frame, what, arg):
        nonlocal count
        if not frame.f_code.co_filename.startswith(FOLDER) or destroying(frame):
            return None
        if what == "line":
            count += 1
            if count == at:
                raise Interrupted
        return trace

    sys.settrace(trace)
    try:
        operation()
    except Interrupted:
        return True
    except NodeError:
        return False
    finally:
        sys.settrace(None)
    return False


def destroying(frame) -> bool:
    while frame is not None and frame.f_code.co_filename.startswith(FOLDER):
        if frame.f_code.co_name == "__del__":
            return True
        frame = frame.f_back
    return False


def token(node):
    return node.start_gets("k", soon()).result().token


PREPARED = {
    "gets": lambda node: lambda: node.start_gets("k", soon()).result(),
    "missing": lambda node: lambda: node.start_gets("missing", soon()).result(),
    "add": lambda node: lambda: node.start_add("k", b"x", TTL, soon()).result(),
    "cas": lambda node: (
        lambda cas=token(node): node.start_cas("k", b"v", TTL, cas, soon()).result()
    ),
    "get_many": lambda node: lambda: node.get_many(["k", "missing"], soon()),
    "delete": lambda node: lambda: node.delete("missing", soon()),
    "stats": lambda node: lambda: node.stats(soon(), "sizes"),
    "abandoned": lambda node: lambda: node.start_gets("k", soon()).abandon(),
    "forgotten": lambda node: lambda: node.start_gets("k", soon()) and None,
}
STATES = {
    "pooled": lambda node, server: None,
    "fresh": lambda node, server: node.close(),
}


def is_sound(node) -> bool:
    """The pool has lost nothing, and the next command gets its own reply."""
    assert node._pool.free == 1
    assert node.start_gets("other", soon()).result().value == b"other"
    assert node.start_add("other", b"", TTL, soon()).result() is False
    return node._pool.idle == 1 and node._pool.free == 1


@pytest.fixture
def server(memcached):
    return memcached()


@pytest.fixture
def node(server, node_at):
    node = node_at(server, pool_size=1)
    node.start_add("k", b"v", TTL, soon()).result()
    node.start_add("other", b"other", TTL, soon()).result()
    return node


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("name", PREPARED)
def test_an_interrupt_at_any_line_leaves_the_client_sound(name, state, node, server):
    at = 0
    while True:
        at += 1
        operation = PREPARED[name](node)
        STATES[state](node, server)
        if not interrupted(operation, at):
            break
        assert is_sound(node), f"line event {at}"
    # The test has seen more than the first lines.
    assert at > 40


def test_an_interrupt_at_any_line_of_a_reconnect_leaves_the_client_sound(node_at):
    """The server closes the connection behind each reply, so that each is the last but one."""
    item = b"VALUE other 0 5 1\r\nother\r\nEND\r\n"
    with FakeServer(behaviours.answers_and_closes(item)) as server:
        node = node_at(server, pool_size=1)
        at = 0
        while True:
            at += 1
            assert node.start_gets("other", soon()).result().value == b"other"
            assert node._pool.idle == 1
            done = not interrupted(lambda: node.start_gets("other", soon()).result(), at)
            assert node._pool.free == 1
            if done:
                break
    assert at > 100


@pytest.mark.parametrize("answer", [b"", b"SERVER_ERROR x\r\n"], ids=["closed", "busy"])
def test_an_interrupt_at_any_line_of_a_failure_leaves_the_client_sound(answer, node_at):
    """Failures are where cleaning up is easily cleaned up itself."""
    behaviour = behaviours.answers(answer) if answer else behaviours.closes
    with FakeServer(behaviour) as server:
        node = node_at(server, pool_size=1, retry_delay=0.0)
        at = 0
        while True:
            at += 1
            done = not interrupted(lambda: node.start_gets("k", soon()).result(), at)
            assert node._pool.free == 1
            assert node._pool.idle == 0
            if done:
                break
    assert at > 60
