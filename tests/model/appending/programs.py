"""What workers do, as programs that yield commands and get their replies."""

from __future__ import annotations

from collections.abc import Callable, Generator
from itertools import islice
from typing import Any, NamedTuple

from .records import ALIAS, DATA, DEAD, Change, Entry, Item, Record, Seen, covers, join, read


#: Replies: a failed node; a copy that is gone.
ERROR = "error"
LIMIT, ROUNDS = 2, 12
BLIND, KNOWN, WRITTEN = "blind", "known", "written"


class Ask(NamedTuple):
    """A command; those that are yielded together are carried out in any order.

    On a node: ``gets``, ``put`` (cas; add without a token), ``append`` (with a token the one that
    compares), ``append+gets``. To the rest of the world: ``begin``, ``standing``, ``ack``,
    ``miss``, ``rebuilt``.
    """

    what: str
    node: int = 0
    key: int = 0
    value: Any = None
    token: Item | None = None


class Rules(NamedTuple):
    """How many nodes and homes there are, and the bug that is played, if any."""

    nodes: int = 3
    homes: int = 2
    fast: bool = True
    bug: str = ""


#: What a program gets: replies in the order of commands, and (missed, rebuilt) of each node.
Replies = tuple[tuple[Any, ...], tuple[tuple[int, int], ...]]
Program = Generator[tuple[Ask, ...], Replies, Any]
Rewrite = Callable[[Record | None], Record]


def trusted(standing: tuple[int, int]) -> bool:
    """Return whether a node with that (missed, rebuilt) is read alone."""
    missed, rebuilt = standing
    return missed == 0 or rebuilt >= missed


def read_by(rules: Rules, item: Item | None) -> Seen:
    """Return what *item* holds, with the bug that is played."""
    seen = read(item, baseless=rules.bug == "changes without a base are data")
    if rules.bug == "a copy with a damaged change counts" and seen.record:
        return seen._replace(complete=True)
    if rules.bug == "what only others can read is overwritten" and seen.strange:
        return Seen(None, complete=False)
    return seen


class Loaded(NamedTuple):
    """``alone``: what a change may be appended to."""

    seen: Record | None
    known: dict[int, tuple[Record | None, Item | None]]
    failed: frozenset[int]
    alone: Item | None


#: What was read of each node: its record if it is whole, and the token.
Known = dict[int, tuple[Record | None, Item | None]]


class Writer:
    """One node in a joined write."""

    def __init__(self, node: int, known: tuple[Record | None, Item | None] | None) -> None:
        self.node = node
        self.record, self.token = known or (None, None)
        self.standing = KNOWN if known else BLIND
        self.sent: Record | None = None

    def holds(self, record: Record) -> bool:
        """Return whether the node is known to hold *record*."""
        return self.standing != BLIND and covers(self.record, record)


class Request:
    """What one worker needs for one request."""

    def __init__(self, worker: int, skew: int, rules: Rules) -> None:
        self.worker, self.rules, self._last = worker, rules, skew
        self.own: Record | None = None

    def stamp(self, after: int) -> int:
        """Return a new stamp above *after*."""
        self._last = max(self._last + 1, (after >> 3) + 1)
        return self._last << 3 | self.worker

    def read(self, item: Item | None) -> Seen:
        """Return what *item* holds for this worker."""
        return read_by(self.rules, item)

    def load(self, key: int, at_least: int) -> Program:
        """Read one trusted copy, or all and write their join back."""
        seen, known, failed, alone = None, {}, set(), None
        for node in range(self.rules.nodes):
            (item,), fleet = yield (Ask("gets", node, key, "load"),)
            if item == ERROR:
                failed.add(node)
                continue
            found = self.read(item)
            if found.strange:
                continue
            seen = join(seen, found.record)
            known[node] = (found.record if found.complete else None, item)
            is_home = node < self.rules.homes and trusted(fleet[node])
            new = found.record is not None and found.record.version >= at_least
            if found.complete and is_home and new:
                if node == 0 and all(map(trusted, fleet[: self.rules.homes])):
                    alone = item
                break
            if len(known) > self.rules.homes:
                break
        if seen and len(known) > 1:
            mine, _ = yield from self.write(
                key, lambda other: join(seen, other) or seen, seen, known, failed
            )
            return Loaded(mine, {}, frozenset(failed), None)
        return Loaded(seen, known, frozenset(failed), alone)

    def write(  # noqa: PLR0912  (the rounds in one piece)
        self,
        key: int,
        rewrite: Rewrite,
        seen: Record | None,
        known: Known,
        avoid: set[int] | frozenset[int],
    ) -> Program:
        """Write all copies in rounds; return the record and who holds it."""
        order = [node for node in range(self.rules.nodes) if node not in avoid]
        order = order or list(range(self.rules.nodes))
        queue = (Writer(node, known.get(node)) for node in order)
        active, mine, conflicts = list(islice(queue, self.rules.homes)), rewrite(seen), 0
        for number in range(ROUNDS):
            blind = any(writer.standing == BLIND for writer in active)
            primary = active[0] if active else None
            busy, commands = [], []
            for writer in active:
                if writer.holds(mine):
                    continue
                if writer.standing != KNOWN:
                    writer.standing = BLIND
                    commands.append(Ask("gets", writer.node, key))
                # Then two writers cannot answer each other for ever.
                elif (not number or not blind) and not (
                    conflicts > 1 and writer is not primary and primary and not primary.holds(mine)
                ):
                    writer.sent = join(writer.record, mine)
                    commands.append(Ask("put", writer.node, key, writer.sent, writer.token))
                else:
                    continue
                busy.append(writer)
            if not busy:
                break
            replies, _ = yield tuple(commands)
            news, gone = seen, False
            for writer, command, reply in zip(busy, commands, replies, strict=True):
                found = self.read(reply) if command.what == "gets" and reply != ERROR else None
                if reply == ERROR or (found and found.strange):
                    active.remove(writer)
                    active += islice(queue, 1)
                elif found:
                    news = join(news, found.record)
                    writer.record = found.record if found.complete else None
                    writer.token, writer.standing = reply, KNOWN
                elif reply is True:
                    writer.record, writer.token, writer.standing = writer.sent, None, WRITTEN
                    seen, news = join(seen, writer.sent), join(news, writer.sent)
                elif reply is False:
                    writer.standing = BLIND
                else:
                    writer.record, writer.token, writer.standing, gone = None, None, KNOWN, True
            for node in range(self.rules.homes) if gone else ():
                if node not in [writer.node for writer in active]:
                    (reply,), _ = yield (Ask("gets", node, key),)
                    news = join(news, self.read(reply).record) if reply != ERROR else news
            if news != seen:
                seen, conflicts = news, conflicts + 1
                mine = rewrite(seen)
        return mine, frozenset(writer.node for writer in active if writer.holds(mine))

    def save(self, key: int, rewrite: Rewrite, loaded: Loaded) -> Program:
        """Append the change where that is allowed; all else is left to the rounds."""
        seen, item, bug = loaded.seen, loaded.alone, self.rules.bug
        full = item is not None and len(item.changes) >= LIMIT
        if not self.rules.fast or item is None or full or seen is None or seen.kind != DATA:
            return (yield from self.write(key, rewrite, seen, loaded.known, loaded.failed))
        mine = rewrite(seen)
        own = tuple(entry for entry in mine.entries if entry not in seen.entries)
        renewed = mine.renewed if bug == "a change renews the session" else 0
        change = Change(seen.version, mine.version, own, renewed)
        reads_back = "append" if bug == "blind append" else "append+gets"
        token = None if bug == "no cas on the primary" else item
        (first, *others), _ = yield (
            Ask("append", 0, key, change, token),
            *(Ask(reads_back, node, key, change) for node in range(1, self.rules.homes)),
        )
        if first is True and all(self.is_done(reply, seen, mine, own) for reply in others):
            return mine, frozenset(range(self.rules.homes))
        self.own = None
        if bug == "no new stamp after a conflict":
            return (
                yield from self.write(key, lambda other: join(mine, other), mine, {}, loaded.failed)
            )
        # From the beginning: what was learned here is read again.
        return (yield from self.write(key, rewrite, seen, {}, loaded.failed))

    def is_done(self, reply: Any, seen: Record, mine: Record, own: tuple[Entry, ...]) -> bool:
        """Return whether a backup holds *mine*, by what was read back from it."""
        bug = self.rules.bug
        if bug == "blind append" or reply == ERROR:
            return reply is True
        stored, item = reply
        if bug == "an append counts without being read":
            return stored is True
        found = self.read(item)
        if found.record is None or not found.complete or not covers(found.record, mine):
            return False
        base = item.base or found.record
        lives = base.renewed >= mine.renewed
        known = base.version <= seen.version or bug == "done although the base is new"
        unbeaten = all(entry in found.record.entries for entry in own)
        return base.kind == DATA and lives and known and unbeaten


def request(worker: int, skew: int, rules: Rules, kind: str, name: str = "x") -> Program:
    """Begin, load, save, acknowledge; afterwards the fleet learns which homes were left out."""
    run = Request(worker, skew, rules)
    ((at_least, _),), _ = yield (Ask("begin"),)
    loaded = yield from run.load(0, at_least)
    seen = loaded.seen
    if seen is None or seen.kind == DEAD or (seen.kind == ALIAS and kind != "logout"):
        return

    def change(other: Record | None) -> Record:
        base: Record = join(seen, other)
        if base.kind != DATA or (run.own and run.own.entries[0] in base.entries):
            return base
        if kind == "refresh":
            return base._replace(renewed=1)
        stamp = run.stamp(max(base.version, at_least))
        run.own = Record(DATA, stamp, 0, ((name, stamp, int(kind == "remove")),))
        changed: Record = join(base, run.own)
        return changed

    def end(kind_of_end: int) -> Rewrite:
        def ended(other: Record | None) -> Record:
            base: Record = join(seen, other)
            if base.kind >= kind_of_end:
                return base
            kept = base.entries if kind_of_end == ALIAS else ()
            return Record(kind_of_end, run.stamp(base.version), base.renewed, kept)

        return ended

    if kind == "logout":
        mine, holders = yield from run.write(0, end(DEAD), seen, loaded.known, loaded.failed)
        yield (Ask("ack", value=("logout", None, mine, holders)),)
    elif kind == "regenerate":
        fresh: Known = dict.fromkeys(range(rules.nodes), (None, None))
        yield from run.write(1, lambda other: join(seen, other), seen, fresh, loaded.failed)
        mine, holders = yield from run.write(0, end(ALIAS), seen, loaded.known, loaded.failed)
        if mine.kind == ALIAS and mine.entries != seen.entries:  # written meanwhile: taken along
            late = mine._replace(kind=DATA)
            yield from run.write(1, lambda other: join(late, other), late, {}, loaded.failed)
        yield (Ask("ack", value=("moved" if mine.kind == ALIAS else "", None, mine, holders)),)
    else:
        if kind == "refresh":
            mine, holders = yield from run.write(0, change, seen, loaded.known, loaded.failed)
        else:
            mine, holders = yield from run.save(0, change, loaded)
        if mine.kind == ALIAS and kind != "refresh":
            target = yield from run.load(1, 0)
            if target.seen and target.seen.kind == DATA:
                seen = target.seen
                kept, there = yield from run.write(1, change, seen, target.known, target.failed)
                yield (Ask("ack", key=1, value=("followed", name, kept, there)),)
        elif mine.kind == DATA and holders:
            changed = None if kind == "refresh" else name
            yield (Ask("ack", value=("write", changed, mine, holders)),)
    for node in range(rules.homes):
        if node not in holders:
            yield (Ask("miss", node),)


def rebuild(worker: int, rules: Rules, node: int) -> Program:
    """Join what other nodes hold into *node*, then call it rebuilt."""
    run = Request(worker, 0, rules)
    (began,), _ = yield (Ask("standing", node),)
    for source in range(rules.nodes):
        for key in (0, 1) if source != node else ():
            (item,), _ = yield (Ask("gets", source, key),)
            if item == ERROR:
                return
            record = run.read(item).record
            while record:
                (here,), _ = yield (Ask("gets", node, key),)
                if here == ERROR or run.read(here).strange:
                    return
                found = run.read(here)
                if found.complete and covers(found.record, record):
                    break
                (stored,), _ = yield (Ask("put", node, key, join(found.record, record), here),)
                if stored == ERROR:
                    return
                if stored is True:
                    break
    yield (Ask("rebuilt", node, value=began),)
