"""Reads and writes of a good day on a flat path; all others go through ``FailoverStore``.

The path does nothing that ``FailoverStore`` and ``ClusterStore`` would not do with the same
replies. Distribution is on and the homes of the session count alone. A read: the session is not
known to have ended, nothing of it waits on this host, and the home that is asked has it, at least
as new as the browser has seen. A write: the copies that are written over are what was read. At the
first thing that is otherwise, all of it is left to them, from the beginning.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from flask_msm.errors import CorruptRecordError, UnknownRecordError
from flask_msm.memcached import wire
from flask_msm.memcached.quick import LARGEST, STORED, new
from flask_msm.memcached.wire import RELATIVE_TTL_LIMIT, checked_ttl, ttl_for
from flask_msm.process.clock import ender
from flask_msm.record.keys import DIGEST_LENGTH
from flask_msm.record.record import BEHIND, Kind
from flask_msm.record.segments import SEGMENTED, Segments

from .appending import Appender
from .known_records import LARGE
from .second_looks import EVERY
from .store import ABSENT, FRESH, Copy, Loaded, Outcome, Saved


if TYPE_CHECKING:
    from collections.abc import Callable

    from flask_msm.cluster.ended_sessions import EndedSessions
    from flask_msm.cluster.routing import Router
    from flask_msm.memcached.protocol import CasToken, Item
    from flask_msm.memcached.quick import Asked, QuickCommands
    from flask_msm.process.background import WorkBehind
    from flask_msm.record.keys import Keyring
    from flask_msm.record.record import Record

    from .failover import FailoverStore
    from .known_records import KnownRecords
    from .looks_behind import LooksBehind
    from .second_looks import SecondLooks
    from .store import Rewrite


#: A record up to this size is read back as it is written, bytes: so its next change need not read.
READ_BACK = 8_192

#: Node ids, each with the token that replaces its copy; ``None`` where that must be read first.
Todo = list["tuple[str, CasToken | None]"]

_FOUND, _DATA = Outcome.FOUND, Kind.DATA
_NONE: frozenset[str] = frozenset()


class FastPath:
    """Implements ``SessionStore`` over ``FailoverStore``.

    Args:
        store: Does what is not usual.
        enabled: Whether the fast path is taken at all.
        writes: Whether changes take it, too.
        router: Has what holds for all sessions.
        ended: Sessions that are known to have ended.
        second_looks: Decides which reads ask both homes.
        looks_behind: Looks at the other home for all of these but the first one of a session;
            ``None`` to ask both at once.
        known: Records that were verified already.
        keys: Returns the keyring of the application's secrets as they are now.
        record_format: Returns the format that records are written in.

    Attributes:
        reads: How many reads took the fast path.
        other_reads: How many reads of sessions that go on were left to *store*.
        writes: How many changes took the fast path.
        other_writes: How many were left to *store*, the first one and the last of a session aside:
            no session can begin, end or move on a fast path.
        backgrounds: What of it is done behind responses: nothing.
    """

    backgrounds: tuple[WorkBehind, ...] = ()

    def __init__(
        self,
        store: FailoverStore,
        *,
        enabled: bool,
        writes: bool,
        router: Router,
        ended: EndedSessions,
        second_looks: SecondLooks,
        looks_behind: LooksBehind | None = None,
        known: KnownRecords,
        keys: Callable[[], Keyring],
        record_format: Callable[[], int],
    ) -> None:
        self.reads = self.other_reads = self.writes = self.other_writes = 0
        self._store = store
        self._takes_reads = enabled
        self._takes_writes = enabled and writes
        self._router = router
        self._ended = ended
        self._second_looks = second_looks
        self._looks_behind = looks_behind
        self._known = known
        self._keys = keys
        self._format = record_format
        self._envelope = store.nodes.envelope
        self._clock = store.nodes.clock
        self._ends_lives = ender(self._clock)
        self._clients = store.nodes.clients
        self._homes = store.nodes.placement.homes
        self._quick = {node_id: client.quick for node_id, client in self._clients.items()}
        self._appender = Appender(self._envelope, self._quick, known)

    def load(  # noqa: PLR0912  (flat, for it is in the way of every read)
        self, key: str, *, at_least: int, deadline: float
    ) -> Loaded:
        """Return the record of *key*."""
        homes = self._homes(key)
        if not (
            self._takes_reads
            and self._router.now.alone.issuperset(homes)
            # The list names sessions by the hash in their keys. What is in it is looked at there.
            and key[-DIGEST_LENGTH:] not in self._ended.shared.record.attributes.entries
        ):
            return self._left(key, at_least, deadline)
        name, first, known, behind = key.encode(), homes[0], self._known, self._looks_behind
        others: dict[str, Item] = {}
        count = self._second_looks.count(key)
        both = count % EVERY == 0
        if key in known.large:
            others = self._unchanged(key, name, homes if both else homes[:1], deadline)
        elif both and count and behind is not None:
            # Not the first one: that shows at once what this worker could not know of the session.
            both = not behind.add(key)
        was_read = not others
        if both and was_read:
            others = self._exchanged(name, [(node_id, None) for node_id in homes], deadline) or {}
        item = others.pop(first, None)
        if item is None and not both:
            node = self._quick[first]
            asked = node.send(b"gets %b\r\n" % name, deadline)
            item = node.receive_item(asked, b"VALUE %b " % name) if asked else None
        if item is None:
            return self._left_again(key, at_least, deadline)
        keys, seen = self._keys(), known.by_key.get(key)
        if seen is not None and seen.data == item.value and seen.keys is keys:
            record: Record | None = seen.record  # as find(), which is a call more for each read
        else:
            record = self._opened(key, item.value, keys)
        if record is None or record.version < at_least or record.created >= BEHIND:
            return self._left_again(key, at_least, deadline)
        copies = {first: new(Copy, (record, item.token, None))}
        if others or len(item.value) >= LARGE:
            for node_id, other in others.items():
                # The same record may be other bytes: encrypted anew by a rebuild, for example.
                if other.value != item.value and self._opened(key, other.value, keys) != record:
                    return self._left_again(key, at_least, deadline)
                copies[node_id] = new(Copy, (record, other.token, None))
            if was_read:
                tokens = {node_id: copy.token for node_id, copy in copies.items() if copy.token}
                known.note(key, item.value, keys, record, tokens)
        # What this host has yet to hand over may be newer, or a logout.
        if self._store.local.may_be_dirty(key):
            return self._left_again(key, at_least, deadline)
        mirror = self._store.mirror
        if mirror is not None and mirror.recent.get(key) != (record.version, record.renewed):
            mirror.note(key, record)
        self.reads += 1
        return new(Loaded, (_FOUND, record, copies, True, _NONE, False, _NONE))

    def save(self, key: str, rewrite: Rewrite, *, known: Loaded | None, deadline: float) -> Saved:
        """Store what *rewrite* makes of the record."""
        routing, homes = self._router.now, self._homes(key)
        base = known.record if known is not None else None
        if (
            not self._takes_writes
            or known is None
            or base is None
            or base.kind is not _DATA
            or base.created >= BEHIND
            or not routing.alone.issuperset(homes)
            or self._clock.time() < routing.settled_at
        ):
            return self._save_left(key, rewrite, known, deadline)
        mine = rewrite(base)
        if mine.kind is not _DATA:
            return self._save_left(key, rewrite, known, deadline)
        keys, what = self._keys(), None
        if self._format() == SEGMENTED and routing.growing.issuperset(homes):
            first = known.copies.get(homes[0], ABSENT)
            if first.record is base:
                what = self._appender.addition(key, first, mine, routing.limit, keys)
        if what is not None:
            if not self._appender.append(what, homes, deadline, keys):
                # Something was appended: none of the tokens fits any more.
                return self._save_left(key, rewrite, known._replace(copies={}), deadline)
            mine = what.after.record
        elif not self._replace(key, mine, known, routing.limit, deadline):
            # The token of a copy that was replaced by now does not fit, so that it is read again.
            return self._save_left(key, rewrite, known, deadline)
        if self._store.mirror is not None:
            self._store.mirror.note(key, mine)
        self.writes += 1
        return new(Saved, (mine, frozenset(homes), False, _NONE, _NONE))

    def holders(self, key: str, deadline: float) -> tuple[str, ...]:
        """Return where *key* is held now: ids of nodes, and ``local``."""
        return self._store.holders(key, deadline)

    # -- reading -------------------------------------------------------------------------------

    def _left(self, key: str, at_least: int, deadline: float) -> Loaded:
        """Leave a read to the store."""
        loaded = self._store.load(key, at_least=at_least, deadline=deadline)
        self.other_reads += not loaded.is_over
        return loaded

    def _left_again(self, key: str, at_least: int, deadline: float) -> Loaded:
        """Leave a read to the store that was begun here."""
        self._second_looks.take_back(key)
        return self._left(key, at_least, deadline)

    def _unchanged(
        self, key: str, name: bytes, homes: tuple[str, ...], deadline: float
    ) -> dict[str, Item]:
        """Return what *homes* were seen to hold, if they still do: large values stay there."""
        items = self._known.seen_on(key, homes)
        asked: deque[tuple[bytes, QuickCommands, Asked]] = deque()
        try:
            for node_id, item in items.items():
                node, token = self._quick[node_id], item.token
                if not self._clients[node_id].takes_meta:
                    return {}
                sent = node.send(wire.look(name), deadline, token.horizon)
                if sent is None:
                    return {}
                asked.append((token.unique, node, sent))
            while asked:
                unique, node, sent = asked.popleft()
                if node.receive_line(sent) != b"HD c%b\r\n" % unique:
                    return {}
        finally:
            for _, node, sent in asked:
                node.abandon(sent)
        return items

    def _opened(self, key: str, data: bytes, keys: Keyring) -> Record | None:
        begin = self._known.beginning(key, data, keys)
        try:
            if begin is None:
                segments = self._envelope.read(data, key)
            else:
                segments = self._envelope.grown(begin[1], data, begin[0], key)
        except (CorruptRecordError, UnknownRecordError):
            return None
        if not segments.complete:
            return None
        self._known.note(key, data, keys, segments.record, segments=segments)
        return segments.record

    # -- writing -------------------------------------------------------------------------------

    def _save_left(
        self, key: str, rewrite: Rewrite, known: Loaded | None, deadline: float
    ) -> Saved:
        """Leave a change to the store."""
        self._known.large.pop(key, None)
        saved = self._store.save(key, rewrite, known=known, deadline=deadline)
        self.other_writes += known is not FRESH and saved.record.kind is _DATA
        return saved

    def _replace(self, key: str, mine: Record, known: Loaded, limit: int, deadline: float) -> bool:
        """Replace all copies by *mine*; return whether they were as on a good day.

        Some of them may have been replaced, if not.
        """
        keys, base, homes = self._keys(), known.record, self._homes(key)
        data = self._envelope.seal(mine, key)
        if base is None or len(data) > LARGEST or len(data) > limit:
            return False
        ttl = ttl_for(mine.expires_at, self._ends_lives())
        written: dict[str, CasToken] = {}
        todo = self._todo(key, homes, known)
        # What must be read first is read while others are replaced, then it is replaced.
        while todo:
            items = self._exchanged(key.encode(), todo, deadline, data, ttl)
            if items is None:
                return False
            unread, todo = todo, []
            for node_id, token in unread:
                item = items.get(node_id)
                if token is None:
                    if item is None or not self._is(base, key, item.value, keys):
                        return False
                    todo.append((node_id, item.token))
                elif item is not None and item.value == data:
                    written[node_id] = item.token
        whole = Segments(mine, mine, len(data), growing=data[2] == SEGMENTED)
        self._known.note(key, data, keys, mine, written, segments=whole)
        return True

    def _todo(self, key: str, homes: tuple[str, ...], known: Loaded) -> Todo:
        """Return what is to be done with each home, given what this request has read."""
        record = known.record
        tokens = self._known.tokens(key, record) if record else {}
        todo: Todo = []
        for node_id in homes:
            copy = known.copies.get(node_id, ABSENT)
            token = copy.token if copy.record is record else tokens.get(node_id)
            # A token travels on connections that are as old as it is.
            if token is not None and token.horizon < self._quick[node_id].pool.youngest:
                token = None
            todo.append((node_id, token))
        return todo

    def _is(self, record: Record, key: str, data: bytes, keys: Keyring) -> bool:
        """Return whether *data* is *record*."""
        found = self._known.find(key, data, keys) or self._opened(key, data, keys)
        return found == record

    # -- both ----------------------------------------------------------------------------------

    def _exchanged(
        self,
        name: bytes,
        todo: Todo,
        deadline: float,
        data: bytes = b"",
        ttl: int = 0,
    ) -> dict[str, Item] | None:
        """Read copies, and replace others by *data*, side by side.

        Returns:
            What was read, by node, also what a replaced copy is now if it is small; ``None`` if a
            node gave no answer, has nothing or another copy.
        """
        found: dict[str, Item] = {}
        asked: deque[tuple[str, QuickCommands, Asked, bool]] = deque()
        gets, item_of = b"gets %b\r\n" % name, b"VALUE %b " % name
        read_back = gets if len(data) <= READ_BACK else b""
        try:
            for node_id, token in todo:
                node = self._quick[node_id]
                if token is None:
                    sent = node.send(gets, deadline)
                else:
                    ahead = self._clients[node_id].clock_ahead
                    end = checked_ttl(ttl, ahead) if ahead and ttl > RELATIVE_TTL_LIMIT else ttl
                    command = wire.CAS % (name, end, len(data), token.unique, data)
                    sent = node.send(command + read_back, deadline, token.horizon)
                if sent is None:
                    return None
                asked.append((node_id, node, sent, token is None))
            while asked:
                node_id, node, sent, is_read = asked.popleft()
                if not (is_read or read_back):
                    if node.receive_line(sent) != STORED:
                        return None
                    continue
                item = node.receive_item(sent, item_of if is_read else STORED + item_of)
                if item is None:
                    return None
                found[node_id] = item
        finally:
            for _, node, sent, _ in asked:
                node.abandon(sent)
        return found
