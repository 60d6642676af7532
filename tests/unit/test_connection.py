"""One connection: how long it waits, and what it makes of a peer that is gone."""

from __future__ import annotations

import socket
import subprocess
import sys
import textwrap
import time

import pytest
from support.clock import FakeClock

from flask_msm.memcached.connection import TOLERANCE, Connection
from flask_msm.memcached.protocol import Answer, OneItem
from flask_msm.memcached.wire import PeerClosedError, ProtocolError, ServerError


class ScriptedSocket:
    """Plays its script, and lets the clock go on while it waits."""

    def __init__(self, clock, *script):
        self.clock = clock
        self.script = list(script)
        self.timeouts = []
        self.sent = []

    def settimeout(self, seconds):
        self.timeouts.append(seconds)

    def send(self, data):
        step = self.step()
        self.sent.append(bytes(data[:step]))
        return step

    def recv(self, size):
        return self.step()

    def step(self):
        step = self.script.pop(0)
        if step is TimeoutError:
            self.clock.advance(self.timeouts[-1])
            raise TimeoutError
        if isinstance(step, float):
            self.clock.advance(step)
            return self.step()
        return step

    def close(self):
        pass


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def connect(clock):
    def connect(*script):
        connection = Connection(clock.monotonic)
        connection.socket = ScriptedSocket(clock, *script)
        return connection

    return connect


@pytest.fixture
def pair():
    """A connection to a peer in this process."""
    here, peer = socket.socketpair()
    connection = Connection(time.monotonic)
    connection.socket = here
    with peer:
        yield connection, peer
    connection.close()


def receive(connection, clock, seconds, reply=None):
    now = clock.monotonic()
    connection.receive(reply or Answer({b"STORED": True}), now + seconds, now)


def test_the_time_left_is_set_on_the_socket_once_an_operation(connect, clock):
    """It is a system call."""
    connection = connect(6, b"STORED\r\n", 6, b"STORED\r\n")
    for _ in range(2):
        now = clock.monotonic()
        connection.send(b"add...", now + 0.25, now)
        clock.advance(TOLERANCE / 2)
        connection.receive(Answer({b"STORED": True}), now + 0.25, clock.monotonic())
    assert connection.socket.timeouts == [0.25]


def test_every_piece_is_waited_for_no_longer_than_is_left(connect, clock):
    connection = connect(0.1, b"STO", 0.1, b"RED", TimeoutError)
    with pytest.raises(TimeoutError):
        receive(connection, clock, 0.25)
    assert connection.socket.timeouts == pytest.approx([0.25, 0.15, 0.05])


def test_who_waited_too_short_waits_again(connect, clock):
    """A socket set for less than there is left is good enough until it gives up."""
    connection = connect(b"STORED\r\n", TimeoutError, 0.01, b"STORED\r\n")
    receive(connection, clock, 0.1)
    receive(connection, clock, 0.15)
    assert connection.socket.timeouts == pytest.approx([0.1, 0.05])


def test_a_value_the_peer_takes_in_pieces_is_sent_whole(connect, clock):
    connection = connect(3, TimeoutError, 0.02, 2, 4)
    connection.arm(0.1)
    now = clock.monotonic()
    connection.send(b"123456789", now + 0.15, now)
    assert connection.socket.sent == [b"123", b"45", b"6789"]


def test_sending_to_a_peer_that_takes_nothing_ends_by_the_deadline(connect, clock):
    connection = connect(3, TimeoutError, 0)
    now = clock.monotonic()
    with pytest.raises(TimeoutError):
        connection.send(b"123456789", now + 0.1, now)


@pytest.mark.parametrize("left", [0.0, -1.0])
def test_without_time_left_nothing_is_waited_for(connect, left):
    connection = connect()
    with pytest.raises(TimeoutError):
        connection.arm(left)
    assert connection.socket.timeouts == []


def test_an_answer_sent_before_the_peer_closed_is_read_although_sending_fails(pair):
    """A server out of connections sends an error and closes, often before a command is sent."""
    connection, peer = pair
    peer.sendall(b"ERROR Too many open connections\r\n")
    peer.close()
    now = time.monotonic()
    connection.send(b"gets k\r\n" * 100_000, now + 60, now)
    with pytest.raises(ServerError) as caught:
        connection.receive(OneItem(b"k"), now + 60, now)
    assert caught.value.text == "Too many open connections"


def test_a_peer_that_closed_before_it_answered_is_told_from_one_that_did_later(pair):
    """In the first case the command may be sent again."""
    connection, peer = pair
    peer.sendall(b"STO")
    peer.close()
    now = time.monotonic()
    with pytest.raises(ProtocolError):
        connection.receive(Answer({b"STORED": True}), now + 60, now)
    with pytest.raises(PeerClosedError):
        connection.receive(Answer({b"STORED": True}), now + 60, now)


def test_a_connection_without_references_closes_its_socket():
    here, peer = socket.socketpair()
    connection = Connection(time.monotonic)
    connection.socket = here
    with peer:
        del connection
        assert here.fileno() == -1
        assert peer.recv(1) == b""


def test_a_connection_without_a_socket_is_closed_without_a_fuss():
    Connection(time.monotonic).close()


def test_no_socket_warns_at_the_end_of_a_process_in_any_order_of_collection():
    code = textwrap.dedent(
        """
        import gc, socket, time
        from flask_msm.memcached.connection import Connection

        gc.disable()
        opened = socket.socket()  # older than its connection, so it would go first
        connection = Connection(time.monotonic)
        connection.socket = opened
        kept = [connection]
        kept.append(kept)
        del opened, connection, kept
        """
    )

    done = subprocess.run(
        [sys.executable, "-W", "always::ResourceWarning", "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    assert done.stderr == ""
