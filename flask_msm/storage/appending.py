"""A change appended to all copies of a session at once: one round trip, however large they are.

The first home takes it only if it still holds what was read. The others take it in any case, and
what they hold then is read back on the same connection: that, not their reply, says whether they
hold all that is known here. Appending keeps times, so a change that has to renew the session is
written whole. ``tests/model/appending/`` tries every order of steps.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from flask_msm.errors import CorruptRecordError, UnknownRecordError
from flask_msm.memcached import wire
from flask_msm.memcached.quick import LARGEST, STORED, new
from flask_msm.record.record import Kind, Record, join
from flask_msm.record.segments import change_between


if TYPE_CHECKING:
    from collections.abc import Mapping

    from flask_msm.memcached.protocol import CasToken, Item
    from flask_msm.memcached.quick import Asked, QuickCommands
    from flask_msm.record.envelope import Envelope
    from flask_msm.record.keys import Keyring
    from flask_msm.record.segments import Segments

    from .known_records import KnownRecords
    from .store import Copy


#: Most changes behind a record; with more it is written anew.
LIMIT = 16
#: A session is renewed when a tenth of its life is over; records live eleven tenths.
RENEWED_AFTER = 1 / 11


class Addition(NamedTuple):
    """What is to be appended.

    Attributes:
        key: Storage key.
        token: Of the first copy, as it was read.
        data: What was read.
        sealed: The change as bytes.
        before: What *data* contains.
        after: What both together contain.
    """

    key: str
    token: CasToken
    data: bytes
    sealed: bytes
    before: Segments
    after: Segments


class Appender:
    """Appends changes.

    Args:
        envelope: Seals and opens.
        quick: Commands to nodes, by their ids.
        known: Has the bytes of what was read.
    """

    def __init__(
        self, envelope: Envelope, quick: Mapping[str, QuickCommands], known: KnownRecords
    ) -> None:
        self._envelope = envelope
        self._quick = quick
        self._known = known

    def addition(
        self, key: str, first: Copy, mine: Record, limit: int, keys: Keyring
    ) -> Addition | None:
        """Return what turns a copy into *mine* but for its times, if that may be appended.

        Args:
            key: Storage key.
            first: What was read from the first home.
            mine: What is to be stored.
            limit: Size of the largest record that all nodes take, bytes.
            keys: Sign it.
        """
        base, token = first.record, first.token
        if base is None or token is None:
            return None
        read = self._known.by_key.get(key)
        if read is None or read.record is not base or read.segments is None:
            return None
        data, before = read.data, read.segments
        left = mine.expires_at - mine.renewed
        if (
            not before.growing
            or len(before.links) >= LIMIT
            or mine.created != base.created
            or mine.expires_at - base.expires_at >= left * RENEWED_AFTER
        ):
            return None
        change = change_between(base, mine)
        if change is None:
            return None
        sealed = self._envelope.seal_change(change, key, current=keys.current)
        size = len(data) + len(sealed)
        if len(sealed) > LARGEST or size > limit or size > 2 * before.size:
            return None
        # *mine* with the times of what was read.
        kept = new(Record, (*base[:4], *mine[4:]))
        return new(Addition, (key, token, data, sealed, before, before.grown(kept, change)))

    def append(
        self, what: Addition, homes: tuple[str, ...], deadline: float, keys: Keyring
    ) -> bool:
        """Append to all copies; return whether each of them holds all that is known here.

        Some of them may have been changed, if not.
        """
        name, first, sealed = what.key.encode(), homes[0], what.sealed
        data, size = what.data + sealed, len(sealed)
        appends = wire.APPEND % (name, size, sealed) + b"gets %b\r\n" % name
        start = STORED + b"VALUE %b " % name
        tokens: dict[str, CasToken] = {}
        asked: deque[tuple[str, QuickCommands, Asked]] = deque()
        try:
            for node_id in homes:
                node = self._quick[node_id]
                if node_id is first:
                    command = wire.APPEND_IF % (name, size, what.token.unique, sealed)
                    sent = node.send(command, deadline, what.token.horizon)
                else:
                    sent = node.send(appends, deadline)
                if sent is None:
                    return False
                asked.append((node_id, node, sent))
            while asked:
                node_id, node, sent = asked.popleft()
                token: CasToken | None = None
                if node_id is first:
                    token = node.receive_appended(sent)
                else:
                    item = node.receive_item(sent, start)
                    if item is not None and (item.value == data or self._holds(item, what)):
                        token = item.token
                if token is None:
                    return False
                tokens[node_id] = token
        finally:
            for _, node, sent in asked:
                node.abandon(sent)
        self._known.note(what.key, data, keys, what.after.record, tokens, segments=what.after)
        return True

    def _holds(self, item: Item, what: Addition) -> bool:
        """Return whether what was read back holds all that is known here.

        A change beside the own one was refused by the first home, or made after the own one, as
        long as the record that it stands behind is not newer than the one that was read.
        """
        try:
            there = self._envelope.read(item.value, what.key)
        except (CorruptRecordError, UnknownRecordError):
            return False
        found, mine = there.record, what.after.record
        entries = found.attributes.entries
        return (
            there.complete
            and there.base.kind is Kind.DATA
            and there.base.version <= what.before.record.version
            and join(found, mine) == found
            and all(
                entries.get(name) == entry
                for name, entry in mine.attributes.entries.items()
                if entry[0] == mine.version
            )
        )
