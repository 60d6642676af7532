"""Replies of memcached, read from bytes as they come. No I/O.

Every reply is strict: what is not exactly an answer to its own command is an error, because
behind it every later answer on that connection would belong to another command.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Generic, NamedTuple, Protocol, TypeVar

from .wire import ProtocolError, ServerError, WireError


if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

LINE_LIMIT = 2048
VALUE_LIMIT = 128 * 1024 * 1024

END = b"END\r\n"
_ITEM_TRAILER = b"\r\n" + END
_ITEM = re.compile(rb"VALUE ([!-~]{1,250}) [0-9]{1,10} ([0-9]{1,10}) ([0-9]{1,20})\r\n")
_VALUE = re.compile(rb"VALUE ([!-~]{1,250}) [0-9]{1,10} ([0-9]{1,10})\r\n")
_META_HEAD = re.compile(rb"HD(?: c([0-9]{1,20}))?\r\n")
_META_ITEM = re.compile(rb"VA ([0-9]{1,10}) c([0-9]{1,20})\r\n")
#: Nothing is there, or was stored.
_META_NOTHING = b"EN", b"NS"


class CasToken(NamedTuple):
    """What a ``cas`` needs to replace exactly what a ``gets`` saw.

    Attributes:
        unique: The cas id the server sent.
        horizon: Number of the youngest connection at the time of the ``gets``. Cas ids restart
            with the server, so a ``cas`` may only travel on a connection that was open before
            its ``gets``: that connection would not have survived a restart.
    """

    unique: bytes
    horizon: int


class Item(NamedTuple):
    """A stored value and the token to replace it."""

    value: bytes
    token: CasToken


class Look(NamedTuple):
    """A stored item as it was looked at.

    Attributes:
        token: Replaces exactly what was seen.
        value: What it holds, ``None`` if only the cas id was asked for.
    """

    token: CasToken
    value: bytes | None = None


class Exchange(Protocol[T_co]):
    """A command that is on its way; the reply has not been read yet."""

    def result(self) -> T_co:
        """Read the reply. Call it once.

        Raises:
            NodeUnreachableError: The node is not there (hard failure).
            NodeBusyError: It did not answer in time (soft failure).
            NodeValueError: It refused this key or value.
        """
        ...

    def abandon(self) -> None:
        """Give the reply up: the connection is closed, for its next reply would be this one."""
        ...


class Reply(Protocol[T_co]):
    """The reply to one command, while it comes in."""

    def feed(self, data: bytes) -> bool:
        """Take the next bytes; return whether the reply is complete.

        Raises:
            ProtocolError: This is not a reply to that command.
            ServerError: The peer refused the command.
        """
        ...

    def outcome(self, horizon: int) -> T_co:
        """Return what a complete reply contains; *horizon* goes into cas tokens."""
        ...

    def reset(self) -> None:
        """Forget what came in, for the command is sent again."""
        ...


class Answer(Generic[T]):
    """A reply of one line out of a few."""

    __slots__ = ("_answers", "_line", "_received")

    def __init__(self, answers: Mapping[bytes, T]) -> None:
        self._answers = answers
        self._received = self._line = b""

    def feed(self, data: bytes) -> bool:
        """Take the next bytes; return whether the reply is complete."""
        self._received = data = self._received + data
        end = _line_end(data, 0)
        if end < 0:
            return False
        self._line = data[:end]
        if self._line not in self._answers:
            raise _not_an_answer(self._line)
        expect_end(data, end + 2)
        return True

    def outcome(self, horizon: int) -> T:  # noqa: ARG002
        """Return what the line means."""
        return self._answers[self._line]

    def reset(self) -> None:
        """Forget what came in."""
        self._received = self._line = b""


class ManyAnswers(Generic[T]):
    """The replies to several commands of one line each, in their order.

    A refusal of one of them is its answer: the others were taken or refused by themselves.

    Args:
        count: How many commands were sent.
        answers: What a line means.
        refusals: Errors of the server that concern one value: their words.
    """

    __slots__ = ("_answers", "_count", "_found", "_received", "_refusals")

    def __init__(self, count: int, answers: Mapping[bytes, T], refusals: Sequence[str]) -> None:
        self._count = count
        self._answers = answers
        self._refusals = refusals
        self._received = b""
        self._found: list[T | ServerError] = []

    def feed(self, data: bytes) -> bool:
        """Take the next bytes; return whether all replies are there."""
        received = self._received = self._received + data
        lines = received.split(b"\r\n")
        if len(lines) == self._count + 1 and not self._found and not lines.pop():
            # All there at once, as a rule.
            self._found = [self._meaning(line) for line in lines]
            return True
        position = 0
        while len(self._found) < self._count:
            end = _line_end(received, position)
            if end < 0:
                self._received = received[position:]
                return False
            self._found.append(self._meaning(received[position:end]))
            position = end + 2
        expect_end(received, position)
        return True

    def _meaning(self, line: bytes) -> T | ServerError:
        if line in self._answers:
            return self._answers[line]
        return _refusal(line, self._refusals)

    def outcome(self, horizon: int) -> list[T | ServerError]:  # noqa: ARG002
        """Return what each line means, or the refusal that it is."""
        return self._found

    def reset(self) -> None:
        """Forget what came in."""
        self._received = b""
        self._found = []


class OneItem:
    """The reply to ``gets`` of one key: its item, ``None`` when it is not there."""

    __slots__ = ("_found", "_key", "_received")

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._received = bytearray()
        self._found: tuple[bytes, bytes] | None = None

    def feed(self, data: bytes | bytearray) -> bool:
        """Take the next bytes; return whether the reply is complete."""
        # A small item comes in one piece, which is read without copying it.
        if self._received:
            self._received += data
            data = self._received
        head = _ITEM.match(data)
        if head is not None:
            key, length, unique = head.groups()
            start = head.end()
            end = start + int(length)
            if data[end:] == _ITEM_TRAILER and key == self._key:
                self._found = bytes(data[start:end]), unique
                return True
            self._check_part(data, key, end)
        elif data == END:
            return True
        else:
            check_line(data, 0)
        if not self._received:
            self._received += data
        return False

    def _check_part(self, data: bytes | bytearray, key: bytes, end: int) -> None:
        """Raise if *data* cannot be the beginning of this reply."""
        if key != self._key:
            raise ProtocolError("an item that was not asked for")
        if end > VALUE_LIMIT:
            raise ProtocolError("a value beyond every limit")
        if not _ITEM_TRAILER.startswith(data[end:]):
            raise ProtocolError("a value that does not end where it should")

    def outcome(self, horizon: int) -> Item | None:
        """Return the item."""
        if self._found is None:
            return None
        value, unique = self._found
        return Item(value, CasToken(unique, horizon))

    def reset(self) -> None:
        """Forget what came in."""
        self._received = bytearray()
        self._found = None


class ManyItems:
    """The reply to ``gets`` of several keys: the items that are there."""

    __slots__ = ("_found", "_keys", "_received", "_size")

    def __init__(self, keys: Mapping[bytes, str]) -> None:
        self._keys = keys
        self.reset()

    def feed(self, data: bytes) -> bool:
        """Take the next bytes; return whether the reply is complete."""
        received = self._received
        received += data
        position = 0
        while not received.startswith(END, position):
            head = _ITEM.match(received, position)
            if head is None:
                check_line(received, position)
                break
            key, length, unique = head.groups()
            if key not in self._keys or key in self._found:
                raise ProtocolError("an item that was not asked for")
            if self._size + int(length) > VALUE_LIMIT:
                raise ProtocolError("values beyond every limit")
            start = head.end()
            end = start + int(length)
            if len(received) < end + 2:
                break
            if received[end : end + 2] != b"\r\n":
                raise ProtocolError("a value that does not end where it should")
            self._found[key] = bytes(received[start:end]), unique
            self._size += end - start
            position = end + 2
        else:
            expect_end(received, position + len(END))
            return True
        del received[:position]
        return False

    def outcome(self, horizon: int) -> dict[str, Item]:
        """Return the items by key."""
        return {
            self._keys[key]: Item(value, CasToken(unique, horizon))
            for key, (value, unique) in self._found.items()
        }

    def reset(self) -> None:
        """Forget what came in."""
        self._received = bytearray()
        self._found: dict[bytes, tuple[bytes, bytes]] = {}
        self._size = 0


class Values(NamedTuple):
    """Values without what it takes to replace them, as the reply that they came in.

    Attributes:
        reply: All of it; nodes that hold the same values of the same keys reply the same.
        places: Where the value of each key that is there begins and ends.
    """

    reply: bytes
    places: dict[bytes, tuple[int, int]]

    def by_key(self) -> dict[str, bytes]:
        """Return the values that are there."""
        reply = self.reply
        return {key.decode("ascii"): reply[start:end] for key, (start, end) in self.places.items()}


class ManyValues:
    """The reply to ``get`` of several keys: the values that are there."""

    __slots__ = ("_keys", "_places", "_position", "_received")

    def __init__(self, keys: Collection[bytes]) -> None:
        self._keys = keys
        self._position = 0
        self.reset()

    def feed(self, data: bytes) -> bool:
        """Take the next bytes; return whether the reply is complete."""
        received = self._received
        received += data
        position, places = self._position, self._places
        while not received.startswith(END, position):
            head = _VALUE.match(received, position)
            if head is None:
                check_line(received, position)
                break
            key, start = head[1], head.end()
            end = start + int(head[2])
            if key not in self._keys or key in places:
                raise ProtocolError("an item that was not asked for")
            if end > VALUE_LIMIT:
                raise ProtocolError("values beyond every limit")
            if len(received) < end + 2:
                break
            if not received.startswith(b"\r\n", end):
                raise ProtocolError("a value that does not end where it should")
            places[key] = start, end
            position = end + 2
        else:
            expect_end(received, position + len(END))
            return True
        self._position = position
        return False

    def outcome(self, horizon: int) -> Values:  # noqa: ARG002
        """Return the values."""
        return Values(bytes(self._received), self._places)

    def reset(self) -> None:
        """Forget what came in."""
        self._received = bytearray()
        self._places: dict[bytes, tuple[int, int]] = {}
        self._position = 0


class ManyLooks:
    """The replies to several meta commands, in their order: what is there.

    Args:
        keys: What each command names.
        refusals: Errors of the server that concern one value: their words.
    """

    __slots__ = ("_done", "_found", "_keys", "_received", "_refusals", "_size")

    def __init__(self, keys: Sequence[str], refusals: Sequence[str]) -> None:
        self._keys = keys
        self._refusals = refusals
        self._received = b""
        self._found: dict[str, tuple[bytes | None, bytes | None]] = {}
        self._done = self._size = 0

    def feed(self, data: bytes) -> bool:
        """Take the next bytes; return whether all replies are there."""
        received = self._received = self._received + data
        position = 0
        for key in self._keys[self._done :]:
            head = _META_HEAD.match(received, position) or _META_ITEM.match(received, position)
            if head is None:
                end = self._nothing(received, position)
            elif head.re is _META_HEAD:
                end = head.end()
                self._found[key] = head[1], None
            else:
                end = self._value(key, head, received)
            if end < 0:
                break
            position = end
            self._done += 1
        else:
            expect_end(received, position)
            return True
        self._received = received[position:]
        return False

    def _value(self, key: str, head: re.Match[bytes], received: bytes) -> int:
        """Read an item behind its *head*; return where it ends, -1 if it goes on."""
        start, length = head.end(), int(head[1])
        end = start + length
        if self._size + length > VALUE_LIMIT:
            raise ProtocolError("values beyond every limit")
        if len(received) < end + 2:
            return -1
        if received[end : end + 2] != b"\r\n":
            raise ProtocolError("a value that does not end where it should")
        self._size += length
        self._found[key] = head[2], received[start:end]
        return end + 2

    def _nothing(self, received: bytes, position: int) -> int:
        """Return where the line ends by which nothing is there, -1 if it goes on."""
        end = _line_end(received, position)
        if end < 0:
            return -1
        line = received[position:end]
        if line not in _META_NOTHING:
            _refusal(line, self._refusals)
        return end + 2

    def outcome(self, horizon: int) -> dict[str, Look]:
        """Return what is there, by key."""
        return {
            key: Look(CasToken(unique or b"", horizon), value)
            for key, (unique, value) in self._found.items()
        }

    def reset(self) -> None:
        """Forget what came in."""
        self._received = b""
        self._found = {}
        self._done = self._size = 0


def _line_end(data: bytes | bytearray, start: int) -> int:
    """Return where the line that begins at *start* ends, -1 if it goes on."""
    end = data.find(b"\r\n", start, start + LINE_LIMIT + 2)
    if end < 0 and len(data) - start > LINE_LIMIT:
        raise ProtocolError("a line without an end")
    return end


def check_line(data: bytes | bytearray, start: int) -> None:
    """Raise if a line that is no answer stands at *start*; return if its end is missing."""
    end = _line_end(data, start)
    if end >= 0:
        raise _not_an_answer(bytes(data[start:end]))


def expect_end(data: bytes | bytearray, end: int) -> None:
    """Raise if *data* goes on behind *end*."""
    if len(data) != end:
        raise ProtocolError("more than was asked for")


def _refusal(line: bytes, refusals: Sequence[str]) -> ServerError:
    """Return the error that *line* is about one value alone, by one of *refusals* in its text.

    Raises:
        WireError: It is something else.
    """
    error = _not_an_answer(line)
    if isinstance(error, ServerError) and any(text in error.text for text in refusals):
        return error
    raise error


def _not_an_answer(line: bytes) -> WireError:
    """Return the error that stands for *line*, which is no answer to the command."""
    kind, _, text = line.partition(b" ")
    if kind in {b"ERROR", b"CLIENT_ERROR", b"SERVER_ERROR"}:
        return ServerError(kind.decode("ascii"), text.decode("ascii", "replace"))
    message = "not an answer to this command"
    return ProtocolError(message)
