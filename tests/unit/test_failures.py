"""The table of what a failure means for a node: every row, and nothing but rows."""

from __future__ import annotations

import errno
import socket
import ssl

import pytest

from flask_msm.errors import NodeBusyError, NodeUnreachableError, NodeValueError
from flask_msm.memcached import wire
from flask_msm.memcached.failures import (
    BY_REFUSAL,
    BY_TYPE,
    FAILURES,
    THIS_SIDE,
    NoConnectionError,
    NotSentError,
    PoolExhaustedError,
    classify,
)


ROWS = [
    (TimeoutError(), NodeBusyError),
    (TimeoutError(errno.ETIMEDOUT, "x"), NodeBusyError),
    (BlockingIOError(errno.EAGAIN, "x"), NodeBusyError),
    (wire.ServerError("ERROR", "Too many open connections"), NoConnectionError),
    (wire.ServerError("SERVER_ERROR", "temporary failure"), NodeBusyError),
    (wire.ServerError("SERVER_ERROR", ""), NodeBusyError),
    (ConnectionRefusedError(errno.ECONNREFUSED, "x"), NodeUnreachableError),
    (ConnectionResetError(errno.ECONNRESET, "x"), NodeUnreachableError),
    (BrokenPipeError(errno.EPIPE, "x"), NodeUnreachableError),
    (FileNotFoundError(errno.ENOENT, "x"), NodeUnreachableError),
    (PermissionError(errno.EACCES, "x"), NodeUnreachableError),
    (OSError(errno.EHOSTUNREACH, "x"), NodeUnreachableError),
    (OSError(errno.EADDRNOTAVAIL, "x"), NodeUnreachableError),
    (OSError("without a number"), NodeUnreachableError),
    (socket.gaierror(socket.EAI_NONAME, "x"), NodeUnreachableError),
    (ssl.SSLError(1, "x"), NodeUnreachableError),
    (ssl.SSLCertVerificationError(1, "x"), NodeUnreachableError),
    (ssl.SSLEOFError(8, "x"), NodeUnreachableError),
    (wire.PeerClosedError(), NodeUnreachableError),
    (wire.ProtocolError("x"), NodeUnreachableError),
    (wire.ServerError("ERROR", ""), NodeUnreachableError),
    (wire.ServerError("ERROR", "something else"), NodeUnreachableError),
    (wire.ServerError("CLIENT_ERROR", "unauthenticated"), NodeUnreachableError),
    (wire.ServerError("CLIENT_ERROR", "authentication failure"), NodeUnreachableError),
    (wire.ServerError("CLIENT_ERROR", "bad command line format"), NodeValueError),
    (wire.ServerError("SERVER_ERROR", "object too large for cache"), NodeValueError),
    (wire.ServerError("SERVER_ERROR", "out of memory storing object"), NodeValueError),
    (wire.UnsupportedError(), NodeValueError),
    (wire.LimitReachedError(), NodeValueError),
    (wire.IllegalKeyError(), NodeValueError),
    (wire.ValueTooLargeError(), NodeValueError),
    (OSError(errno.EMFILE, "x"), NotSentError),
    (OSError(errno.ENFILE, "x"), NotSentError),
    (OSError(errno.ENOBUFS, "x"), NotSentError),
    (OSError(errno.ENOMEM, "x"), NotSentError),
    (OSError(errno.EBADF, "x"), NotSentError),
]


@pytest.mark.parametrize(
    ("error", "meaning"), ROWS, ids=[f"{at}-{row[0]!r}" for at, row in enumerate(ROWS)]
)
def test_a_failure_means_one_thing(error, meaning):
    found = classify("n7", error)
    assert type(found) is meaning
    assert found.node == "n7"
    assert str(found) == f"node n7: {found.reason}"
    assert isinstance(error, FAILURES)


def test_every_row_of_the_table_is_tested():
    reasons = {classify("n1", error).reason for error, _ in ROWS}
    assert reasons >= {row[-1] for row in (*BY_TYPE, *BY_REFUSAL)}
    assert {error.errno for error, meaning in ROWS if meaning is NotSentError} == THIS_SIDE


@pytest.mark.parametrize("kind", [NodeBusyError, NodeUnreachableError, PoolExhaustedError])
def test_a_classified_error_stays_as_it_is(kind):
    error = kind("n1", "reason")
    assert classify("n1", error) is error


def test_a_want_of_this_side_is_no_failure_of_the_node():
    for kind in (NotSentError, PoolExhaustedError):
        assert not issubclass(kind, NodeBusyError | NodeUnreachableError | NodeValueError)


def test_no_reason_repeats_what_came_from_the_network():
    for kind in ("ERROR", "CLIENT_ERROR", "SERVER_ERROR"):
        error = classify("n1", wire.ServerError(kind, "too large SECRET out of memory"))
        assert "SECRET" not in str(error)
    assert "SECRET" not in str(classify("n1", OSError(errno.ECONNREFUSED, "SECRET", "SECRET")))
    assert "SECRET" not in str(classify("n1", OSError("SECRET")))


@pytest.mark.parametrize("bug", [TypeError(), KeyError(), ValueError(), RuntimeError()])
def test_a_bug_is_not_in_the_table(bug):
    assert not isinstance(bug, FAILURES)
