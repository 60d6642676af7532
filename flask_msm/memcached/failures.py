"""What a failure means for a node: one table, in two parts.

What is in neither is a bug of this package and comes out as it is.
"""

from __future__ import annotations

import errno
import os
import socket
import ssl

from flask_msm.errors import NodeBusyError, NodeError, NodeUnreachableError, NodeValueError

from . import wire


class NotSentError(NodeError):
    """Nothing was sent, for want of time or means on this side: no sign of a fault of the node."""


class PoolExhaustedError(NotSentError):
    """No connection to the node became free before the deadline."""


class NoConnectionError(NotSentError):
    """The node has no connection left (``-c``), and took no command: it is busy, and not lost."""


#: Everything the table is about.
FAILURES = (NodeError, wire.WireError, OSError)

#: By type; the first row that fits counts. Reasons are fixed words: what the peer sent, a key or
#: a value is not among them.
BY_TYPE: tuple[tuple[type[Exception], type[NodeError], str], ...] = (
    (TimeoutError, NodeBusyError, "timed out"),
    (BlockingIOError, NodeBusyError, "its queue of new connections is full"),
    (socket.gaierror, NodeUnreachableError, "its name does not resolve"),
    (ssl.SSLCertVerificationError, NodeUnreachableError, "its TLS certificate is not trusted"),
    (ssl.SSLError, NodeUnreachableError, "TLS failed"),
    (wire.PeerClosedError, NodeUnreachableError, "closed the connection without an answer"),
    (wire.ProtocolError, NodeUnreachableError, "does not speak memcached"),
    (wire.UnsupportedError, NodeValueError, "gives no statistics"),
    (wire.LimitReachedError, NodeValueError, "was not listened to any longer"),
    (wire.IllegalKeyError, NodeValueError, "an illegal key"),
    (wire.ValueTooLargeError, NodeValueError, "the value is too large"),
)

#: By error line: kind, and what stands in its text.
BY_REFUSAL: tuple[tuple[str, str, type[NodeError], str], ...] = (
    ("ERROR", wire.NO_CONNECTION, NoConnectionError, "too many open connections"),
    ("ERROR", "", NodeUnreachableError, "does not know the command"),
    ("CLIENT_ERROR", "unauthenticated", NodeUnreachableError, "wants a password"),
    ("CLIENT_ERROR", "authentication failure", NodeUnreachableError, "refused the password"),
    ("CLIENT_ERROR", "", NodeValueError, "refused the command"),
    ("SERVER_ERROR", "too large", NodeValueError, "refused the value: too large"),
    ("SERVER_ERROR", "out of memory", NodeValueError, "refused the value: out of memory"),
    ("SERVER_ERROR", "", NodeBusyError, "answered with a server error"),
)

#: In the text of an error line that is about one value alone.
OF_A_VALUE = ("too large", "out of memory")

#: Other errors of the system are the node's. EBADF: a fork closed an exchange of the parent.
THIS_SIDE = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EBADF})


def classify(node: str, error: NodeError | wire.WireError | OSError) -> NodeError:
    """Return what *error* means for *node*."""
    if isinstance(error, NodeError):
        return error
    if isinstance(error, wire.ServerError):
        for kind, text, meaning, reason in BY_REFUSAL:
            if kind == error.kind and text in error.text:
                return meaning(node, reason)
    for failure, meaning, reason in BY_TYPE:
        if isinstance(error, failure):
            return meaning(node, reason)
    number = error.errno if isinstance(error, OSError) else None
    text = os.strerror(number) if number else "the connection broke"
    return NotSentError(node, text) if number in THIS_SIDE else NodeUnreachableError(node, text)
