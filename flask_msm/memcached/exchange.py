"""A command on its way to one node and the reply to it, sent again where that is safe."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, Self, TypeVar

from flask_msm.errors import NodeBusyError, NodeError

from .failures import FAILURES, NoConnectionError, NotSentError, classify
from .wire import PeerClosedError, WireError


if TYPE_CHECKING:
    from .connection import Connection
    from .endpoint import Endpoint
    from .pool import Permit
    from .protocol import Reply

T = TypeVar("T")

# Extra time, seconds, to read replies that arrived while the reader waited for another node.
GRACE = 0.005
# A node without a connection is asked again as long as so much of ``MSM_TIMEOUT`` is left.
ANSWERED = 0.25


class OutdatedTokenError(WireError):
    """No connection from before the read is left."""


class PendingReply(Generic[T]):
    """One command, from the wait for a connection to the last byte of the reply.

    The connection goes back to the pool in one place, after a complete reply. In every other
    case, also when this object is dropped, the connection is closed and its place is free again.
    """

    __slots__ = (
        "_command",
        "_connection",
        "_deadline",
        "_endpoint",
        "_failure",
        "_fresh",
        "_horizon",
        "_over",
        "_patience",
        "_place",
        "_pooled",
        "_reply",
        "_retries",
        "_until",
    )

    def __init__(
        self,
        endpoint: Endpoint,
        command: bytes,
        reply: Reply[T],
        deadline: float,
        *,
        retries: int = 0,
    ) -> None:
        self._endpoint = endpoint
        self._command = command
        self._reply = reply
        self._deadline = deadline
        self._retries = retries
        self._place: Permit | None = None
        self._connection: Connection | None = None
        self._failure: Exception | None = None
        self._pooled = self._fresh = self._over = False
        self._horizon = 0
        self._until = self._patience = 0.0

    def begin(self) -> Self:
        """Send the command; a failure waits for ``result()``."""
        try:
            self._dispatch()
        except FAILURES as exc:
            self._drop()
            # Without its traceback, which refers to this object and would keep it alive.
            self._failure = exc.with_traceback(None)
        except BaseException:
            self.abandon()
            raise
        return self

    def result(self) -> T:
        """Read the reply. Call it once."""
        if self._over:
            raise RuntimeError("the reply to this command was read or given up")
        try:
            while True:
                try:
                    outcome = self._read()
                except FAILURES as exc:
                    self._recover(exc)
                else:
                    self._over = True
                    return outcome
        except BaseException:
            self.abandon()
            raise

    def abandon(self) -> None:
        """Give the reply up."""
        self._over = True
        self._failure = None
        if self._connection is not None:
            self._endpoint.counters.abandoned += 1
        self._drop()

    def _dispatch(self) -> Connection:
        endpoint = self._endpoint
        if endpoint.monotonic() >= self._deadline:
            raise NotSentError(endpoint.node, "not asked: the deadline had passed")
        if self._place is None:
            self._place = endpoint.pool.place(self._deadline)
        connection = self._connection = self._check_out(endpoint)
        now = endpoint.monotonic()
        self._until = min(now + endpoint.timeout, self._deadline)
        self._patience = self._patience or self._until
        # Before the command leaves: any connection up to this one is older than the answer.
        self._horizon = max(endpoint.pool.youngest, connection.number)
        connection.send(self._command, self._until, now)
        return connection

    def _check_out(self, endpoint: Endpoint) -> Connection:
        connection = None if self._fresh else endpoint.pool.take()
        self._pooled = connection is not None
        if connection is None:
            connection = endpoint.connect(self._deadline)
        return connection

    def _read(self) -> T:
        connection = self._connection
        if connection is None:
            self._raise_failure()
            connection = self._dispatch()
        now = self._endpoint.monotonic()
        connection.receive(self._reply, max(self._until, now + GRACE), now)
        outcome = self._reply.outcome(self._horizon)
        # Forgotten before they are given away: nothing can be given away twice.
        self._connection = None
        place, self._place = self._place, None
        if place is not None:
            self._endpoint.pool.give(connection, place)
        return outcome

    def _raise_failure(self) -> None:
        """Raise what ``begin()`` ran into, and forget it."""
        if self._failure is not None:
            try:
                raise self._failure
            finally:
                self._failure = None

    def _recover(self, error: NodeError | WireError | OSError) -> None:
        """Return if the command may be sent again; raise what *error* means otherwise."""
        endpoint = self._endpoint
        connection = self._connection
        self._disconnect()
        if connection is not None and self._pooled and isinstance(error, PeerClosedError):
            # Servers restart, and close what is idle for long: not the node's failure. What
            # was opened before this connection is closed as well, or will be soon.
            endpoint.pool.retire(connection.number)
            self._server_had_closed()
        elif self._is_no_connection(error) or self._worth_a_retry(error):
            endpoint.sleep(endpoint.retry_delay)
        elif isinstance(error, NodeError):
            raise error
        else:
            raise classify(endpoint.node, error) from error
        self._reply.reset()

    def _server_had_closed(self) -> None:
        """Send the command again, on a connection that is new for sure."""
        self._fresh = True
        self._endpoint.counters.reconnects += 1

    def _is_no_connection(self, error: NodeError | WireError | OSError) -> bool:
        """Return whether the node had no connection left, and there is time to ask it again.

        It took no command, so that any may be sent again; others close connections all the time.
        """
        endpoint = self._endpoint
        # Were there next to no time for the answer, a node that answers would seem to hang.
        latest = self._patience - endpoint.timeout * ANSWERED
        in_time = endpoint.monotonic() + endpoint.retry_delay < latest
        refused = isinstance(classify(endpoint.node, error), NoConnectionError)
        return refused and in_time and not self._pooled

    def _worth_a_retry(self, error: NodeError | WireError | OSError) -> bool:
        endpoint = self._endpoint
        if self._retries == 0 or not isinstance(classify(endpoint.node, error), NodeBusyError):
            return False
        self._retries -= 1
        return endpoint.monotonic() + endpoint.retry_delay < self._deadline

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _drop(self) -> None:
        self._disconnect()
        place, self._place = self._place, None
        if place is not None:
            place.give_back()


class CasExchange(PendingReply[T]):
    """A ``cas``, which may travel only on a connection that was open before its ``gets``.

    The cas ids of a server start anew with it, so that on a later connection an old id may fit
    an item it was not read from. Instead the answer is *outdated*: read again.
    """

    __slots__ = ("_opened_by", "_outdated")

    def __init__(
        self,
        endpoint: Endpoint,
        command: bytes,
        reply: Reply[T],
        deadline: float,
        *,
        opened_by: int,
        outdated: T,
    ) -> None:
        super().__init__(endpoint, command, reply, deadline)
        self._opened_by = opened_by
        self._outdated = outdated

    def result(self) -> T:
        """Read the reply. Call it once."""
        try:
            return super().result()
        except OutdatedTokenError:
            return self._outdated

    def _check_out(self, endpoint: Endpoint) -> Connection:
        connection = endpoint.pool.take_older(self._opened_by)
        if connection is None:
            raise OutdatedTokenError
        self._pooled = True
        return connection

    def _recover(self, error: NodeError | WireError | OSError) -> None:
        if isinstance(error, OutdatedTokenError):
            raise error
        super()._recover(error)

    def _server_had_closed(self) -> None:
        raise OutdatedTokenError


class FailedReply(Generic[T]):
    """An exchange that was over before anything was sent."""

    __slots__ = ("_error",)

    def __init__(self, error: NodeError) -> None:
        self._error = error

    def result(self) -> T:
        """Raise what was wrong."""
        raise self._error

    def abandon(self) -> None:
        """Do nothing: no connection is in use."""
