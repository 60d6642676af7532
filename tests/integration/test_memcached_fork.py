"""One memcached node on both sides of a fork: nothing is shared, nothing is disturbed."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import flask_msm


pytestmark = pytest.mark.memcached

ROOT = Path(flask_msm.__file__).parent.parent

PROLOGUE = """
    import os, sys, time, traceback
    from flask_msm.errors import NodeError
    from flask_msm.memcached.connection import _connections as connections
    from flask_msm.memcached.client import MemcachedNode

    node = MemcachedNode(
        "n1", host="127.0.0.1", port=int(sys.argv[1]),
        connect_timeout=60, timeout=60, pool_size=2,
    )

    def soon():
        return time.monotonic() + 60

    def value(key):
        item = node.start_gets(key, soon()).result()
        return None if item is None else item.value

    def in_child(work):
        child = os.fork()
        if child == 0:
            status = 1
            try:
                work()
                status = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(status)
        _, status = os.waitpid(child, 0)
        assert status == 0, "the child failed"

    for name in ("k", "parent", "child"):
        node.start_add(name, name.encode(), 60, soon()).result()
"""


def run(script: str, port: int) -> None:
    """Run *script* in a process of its own, which may fork as it likes."""
    source = textwrap.dedent(PROLOGUE) + textwrap.dedent(script)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", source, str(port)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_parent_and_child_have_connections_of_their_own(memcached):
    """A child that used the parent's connections would take its replies."""
    run(
        """
        exchanges = [node.start_gets("k", soon()), node.start_gets("parent", soon())]
        exchanges[0].result()
        pending = exchanges[1]
        inherited = [connection.socket.fileno() for connection in connections]
        assert len(inherited) == 2

        def child():
            for descriptor in inherited:
                try:
                    os.fstat(descriptor)
                except OSError:
                    continue
                raise AssertionError("an inherited socket is still open")
            # The pool is whole although an exchange was on its way at the fork.
            assert node._pool.free == 2
            both = [node.start_gets("child", soon()), node.start_gets("k", soon())]
            assert [one.result().value for one in both] == [b"child", b"k"]
            for _ in range(100):
                assert value("child") == b"child"

        in_child(child)
        # What was on its way arrives, on a connection the child has not closed.
        assert pending.result().value == b"parent"
        assert value("k") == b"k"
        assert node.counters.connects == 2
        assert node.counters.reconnects == 0
        """,
        memcached().port,
    )


def test_an_exchange_of_the_parent_is_of_no_use_in_the_child(memcached):
    run(
        """
        from flask_msm.memcached.failures import NotSentError

        pending = node.start_gets("parent", soon())

        def child():
            try:
                pending.result()
            except NotSentError:
                pass
            else:
                raise AssertionError("the child read a reply of the parent")
            assert node._pool.free == 2
            assert value("child") == b"child"

        in_child(child)
        assert pending.result().value == b"parent"
        """,
        memcached().port,
    )


def test_a_token_of_the_parent_is_of_no_use_in_the_child(memcached):
    """No connection of the child was open before the read."""
    run(
        """
        token = node.start_gets("k", soon()).result().token

        def child():
            assert node.start_cas("k", b"child", 60, token, soon()).result() is False
            value("k")
            assert node.start_cas("k", b"child", 60, token, soon()).result() is False

        in_child(child)
        assert node.start_cas("k", b"parent", 60, token, soon()).result() is True
        """,
        memcached().port,
    )


def test_a_fork_without_a_hook_of_python_is_noticed_at_the_next_use(memcached):
    run(
        """
        value("k")
        (inherited,) = connections
        real = os.getpid
        os.getpid = lambda: -1
        assert value("child") == b"child"
        os.getpid = real
        assert inherited.socket.fileno() == -1
        """,
        memcached().port,
    )


def test_a_fork_while_threads_use_the_node(memcached):
    """The child does not wait for a lock that another thread holds at that moment."""
    run(
        """
        import threading

        done = threading.Event()
        failures = []

        def work(key):
            try:
                while not done.is_set():
                    assert value(key) == key.encode()
            except BaseException as exc:
                failures.append(exc)

        threads = [threading.Thread(target=work, args=(key,)) for key in ("k", "parent")]
        for thread in threads:
            thread.start()

        def child():
            assert node._pool.free == 2
            for _ in range(20):
                assert value("child") == b"child"

        for _ in range(20):
            in_child(child)
        done.set()
        for thread in threads:
            thread.join()
        assert not failures, failures
        """,
        memcached().port,
    )
