"""Nodes, faults, every order of steps, and what must hold in all of them.

holds     a node that is named at an acknowledgement holds all that the writer knew
lives     and for as long as the writer wanted
reads     a read with the newest cookie sees all that was acknowledged
logout    after an acknowledged logout nothing shows the session again
order     a change is stamped above what was acknowledged before its request began
trusted   when all is over, a trusted home holds all that was acknowledged
moved     when all is over, a change beside ``regenerate()`` is in the new session
strange   what only others can read is not replaced
bounded   no copy has more changes behind it than allowed, and one for each writer under way

A node that a fault has hit is exempt where ``docs/how-it-works.md`` exempts it. Here a token is the
item itself, and a worker learns of trust when it reads.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

from .programs import ERROR, LIMIT, Ask, Replies, Rules, read_by, rebuild, request, trusted
from .records import DAMAGED, DATA, DEAD, STRANGE, Change, Item, Record, covers, join, read
from .states import Facts, Node, Programs, Slot, State, missed, put


WAITING, HALF = "waiting", "half"
NODE_COMMANDS = {"gets", "put", "append", "append+gets"}
#: What may hit a node while no request is under way.
SPOILED = {"corrupt", DAMAGED}
#: Faults after which a trusted home may lack something: the items were there when it was trusted.
FINAL = {"evict", "ms", STRANGE, *SPOILED}


class ViolationError(Exception):
    """Something that must hold does not."""


class Result(NamedTuple):
    """What was found: how many states, what does not hold, the shortest way there."""

    states: int
    violated: str
    way: list[str]
    complete: bool


def show(ask: Ask) -> str:
    condition = "" if ask.token is None else " if unchanged"
    return f"{ask.what} {ask.node}{condition}"


class World:
    """Plays *scripts*, one for each worker: rows of (kind, name), which "old" may begin."""

    def __init__(
        self, scripts: Any, rules: Rules, kinds: tuple[str, ...], *, faults: int = 1
    ) -> None:
        self.rules, self.kinds, self.programs = rules, frozenset(kinds), Programs()
        self._reads: dict[Any, Record | None] = {}
        rows = []
        for worker, script in enumerate(scripts):
            row = []
            for turn, step in enumerate(script):
                old = step[0] == "old"
                mine = rules._replace(fast=False) if old else rules
                row.append(
                    partial(request, worker, 4 * worker + 20 * turn, mine, *step[int(old) :])
                )
            rows.append(tuple(row))
        first = Item(0, Record(DATA, 8, 0, (("x", 8, 0), ("y", 8, 0))))
        homes, others = rules.homes, rules.nodes - rules.homes
        nodes = (Node(items=(first, None)),) * homes + (Node(),) * others
        fleet = ((0, 0),) * rules.nodes
        slots = tuple(self.slot(row[0], row[1:]) for row in rows)
        views = (fleet,) * len(rows)
        self.first = State(nodes, fleet, views, slots, (), Facts(), faults, frozenset(), 1)

    # -- helpers

    def slot(self, program: Any, rest: tuple[Any, ...] = ()) -> Slot:
        number = self.programs.number(program)
        return Slot(number, (WAITING,) * len(self.programs.states[number][2]), rest)

    def commands(self, slot: Slot) -> tuple[Ask, ...]:
        return self.programs.states[slot.number][2]

    def is_busy(self, slot: Slot) -> bool:
        _, history, commands = self.programs.states[slot.number]
        return bool(history and commands)

    # -- commands on nodes

    def execute(  # noqa: PLR0911  (one for each reply)
        self, nodes: tuple[Node, ...], ask: Ask
    ) -> tuple[tuple[Node, ...], Any]:
        """Carry out one command; return the nodes and its reply."""
        node = nodes[ask.node]
        item = node.items[ask.key]
        if not node.up:
            return nodes, ERROR
        if ask.what == "gets":
            return nodes, item
        if node.full:
            if ask.what == "put":
                return nodes, ERROR
            if ask.token is None:
                return nodes, None  # append: what was there stays
            items = put(node.items, ask.key, None)  # ms: memcached takes it away
            return put(nodes, ask.node, node._replace(items=items, lost="ms")), None
        if ask.what == "put":
            token = item if self.rules.bug == "compaction without cas" else ask.token
            if item is None and token is not None:
                return nodes, None if token.epoch == node.epoch else False
            if item != token:
                return nodes, False
            if read(item).strange:
                raise ViolationError(f"strange: node {ask.node} loses what only others can read")
            changed = Item(node.epoch, ask.value)
        elif item is None:
            return nodes, None
        elif ask.token is not None and item != ask.token:
            return nodes, False
        else:
            changed = item._replace(epoch=node.epoch, changes=(*item.changes, ask.value))
        items = put(node.items, ask.key, changed)
        return put(nodes, ask.node, node._replace(items=items)), True

    # -- steps

    def steps(  # noqa: PLR0912  (one for each kind)
        self, state: State
    ) -> Iterator[tuple[str, State]]:
        for worker, slot in enumerate(state.slots):
            yield from self.steps_of(state, worker, slot)
        for place, ask in enumerate(state.late):
            nodes, _ = self.execute(state.nodes, ask)
            rest = state.late[:place] + state.late[place + 1 :]
            yield f"late: {show(ask)}", state._replace(nodes=nodes, late=rest)
        for at, node in enumerate(state.nodes):
            if not node.up:
                nodes = put(state.nodes, at, node._replace(up=True))
                yield f"node {at} is back", state._replace(nodes=nodes)
            elif node.unnoticed:
                nodes = put(state.nodes, at, node._replace(unnoticed=False))
                fleet = missed(state.fleet, at)
                yield f"loss of {at} noticed", state._replace(nodes=nodes, fleet=fleet)
        busy = any(map(self.is_busy, state.slots))
        if state.faults:
            spent = state._replace(faults=state.faults - 1)
            for label, at, changed in self.hits(state, busy):
                yield label, spent._replace(nodes=put(state.nodes, at, changed))
            for worker, slot in enumerate(state.slots if "cut" in self.kinds else ()):
                for at in range(self.rules.homes) if self.commands(slot) or slot.rest else ():
                    if (worker, at) not in state.cuts:
                        yield (
                            f"{worker} cut from {at}",
                            spent._replace(cuts=state.cuts | {(worker, at)}),
                        )
        if state.rebuilds and not busy and len(state.slots) == len(self.first.slots):
            for at in range(self.rules.nodes):
                if not trusted(state.fleet[at]) and state.nodes[at].up:
                    extra = self.slot(partial(rebuild, 7, self.rules, at))
                    yield (
                        f"rebuild of {at}",
                        state._replace(
                            views=(state.fleet,) * len(state.views),
                            slots=(*state.slots, extra),
                            rebuilds=state.rebuilds - 1,
                        ),
                    )

    def hits(self, state: State, busy: bool) -> Iterator[tuple[str, int, Node]]:
        """Yield what one fault may do to a home."""
        for at in range(self.rules.homes):
            node = state.nodes[at]
            item = node.items[0]
            if "crash" in self.kinds and node.up:
                gone = Node(up=False, epoch=node.epoch + 1, lost="crash", unnoticed=True)
                yield f"node {at} crashes", at, gone
            if "full" in self.kinds:
                yield f"no memory left on {at}", at, node._replace(full=True)
            if item is None:
                continue
            spoiled: dict[str, Item | None] = {"evict": None}
            if not busy and item.base:
                spoiled["corrupt"] = item._replace(base=None)
            if not busy and item.changes:
                last = item.changes[-1]._replace(unreadable=DAMAGED)
                spoiled[DAMAGED] = item._replace(changes=(*item.changes[:-1], last))
            strange = Change(8, 9, (), unreadable=STRANGE)
            spoiled[STRANGE] = item._replace(changes=(*item.changes, strange))
            for kind, changed in spoiled.items():
                if kind in self.kinds:
                    items = put(node.items, 0, changed)
                    yield f"{kind} on {at}", at, node._replace(lost=kind, items=items)

    def steps_of(self, state: State, worker: int, slot: Slot) -> Iterator[tuple[str, State]]:
        commands = self.commands(slot)
        if not commands and slot.rest:
            following = self.slot(slot.rest[0], slot.rest[1:])
            yield f"{worker} goes on", state._replace(slots=put(state.slots, worker, following))
        for place, ask in enumerate(commands):
            reply = slot.replies[place]
            half = type(reply) is tuple and reply[0] == HALF
            if ask.what == "begin":
                for at_least in {8, state.facts.version}:
                    begun = self.replied(state, worker, 0, (at_least, state.facts.newest))
                    for label, after in self.first_read(begun, worker):
                        yield f"{worker} begins with cookie {at_least}, {label}", after
            elif ask.value == "load":
                for label, after in self.first_read(state, worker):
                    yield f"{worker}: {label}", after
            elif reply == WAITING or half:
                yield f"{worker}: {show(ask)}", self.act(state, worker, place, ask)
                if state.faults and reply == WAITING:
                    yield from self.mishaps(state, worker, place, ask)
        if state.faults and "die" in self.kinds and commands and commands[0].what in NODE_COMMANDS:
            sent = tuple(
                ask
                for ask, reply in zip(commands, slot.replies, strict=True)
                if reply == WAITING and ask.what != "gets"
            )
            dead = Slot(self.programs.number(nothing), (), ())
            slots, late = put(state.slots, worker, dead), state.late + sent
            yield f"{worker} dies", state._replace(slots=slots, late=late, faults=state.faults - 1)

    def mishaps(
        self, state: State, worker: int, place: int, ask: Ask
    ) -> Iterator[tuple[str, State]]:
        """Yield what may go wrong with one command."""
        spent = state._replace(faults=state.faults - 1)
        node = state.nodes[ask.node]
        if "oom" in self.kinds and ask.what.startswith("append") and node.up:
            # The command that compares takes the old value away, append leaves it.
            if ask.token is not None:
                emptied = node._replace(lost="evict", items=(None, node.items[1]))
                spent = spent._replace(nodes=put(state.nodes, ask.node, emptied))
            refused = None if ask.what == "append" else (HALF, None)
            yield (
                f"{worker}: no memory for {show(ask)}",
                self.replied(spent, worker, place, refused),
            )
        if "lose" in self.kinds and ask.what in NODE_COMMANDS - {"gets"}:
            late = state._replace(faults=state.faults - 1, late=(*state.late, ask))
            yield f"{worker}: no reply to {show(ask)}", self.replied(late, worker, place, ERROR)

    def first_read(self, state: State, worker: int) -> Iterator[tuple[str, State]]:
        """Read with what the worker knew of trust, and having learned what is known now."""
        ask = self.commands(state.slots[worker])[0]
        yield show(ask), self.act(state, worker, 0, ask)
        if worker < len(state.views) and state.views[worker] != state.fleet:
            learned = state._replace(views=put(state.views, worker, state.fleet))
            yield f"{show(ask)}, having learned", self.act(learned, worker, 0, ask)

    def act(self, state: State, worker: int, place: int, ask: Ask) -> State:
        """Carry out a command, or half of it, and hand its reply to the worker."""
        if ask.what == "standing":
            return self.replied(state, worker, place, state.fleet[ask.node][0])
        if ask.what == "miss":
            fleet = missed(state.fleet, ask.node)
            if worker < len(state.views):
                state = state._replace(views=put(state.views, worker, fleet))
            return self.replied(state._replace(fleet=fleet), worker, place, True)
        if ask.what == "rebuilt":
            since, rebuilt = state.fleet[ask.node]
            fleet = put(state.fleet, ask.node, (since, max(rebuilt, ask.value)))
            return self.replied(state._replace(fleet=fleet), worker, place, True)
        if (worker, ask.node) in state.cuts:
            return self.replied(state, worker, place, ERROR)
        before = state.slots[worker].replies[place]
        if ask.what == "append+gets" and before != WAITING:
            _, reply = self.execute(state.nodes, Ask("gets", ask.node, ask.key))
            return self.replied(
                state, worker, place, reply if reply == ERROR else (before[1], reply)
            )
        nodes, reply = self.execute(state.nodes, ask)
        if ask.what == "append+gets" and reply != ERROR:
            reply = (HALF, reply)
        return self.replied(state._replace(nodes=nodes), worker, place, reply)

    def replied(self, state: State, worker: int, place: int, reply: Any) -> State:
        number, replies, rest = state.slots[worker]
        replies = put(replies, place, reply)
        if any(r == WAITING or (type(r) is tuple and r[:1] == (HALF,)) for r in replies):
            return state._replace(slots=put(state.slots, worker, Slot(number, replies, rest)))
        view = state.views[worker] if worker < len(state.views) else state.fleet
        loads = self.programs.states[number][2][0].value == "load"
        number = self.programs.step(number, replies, view if loads else None)
        facts = state.facts
        while (commands := self.programs.states[number][2]) and commands[0].what == "ack":
            history = self.programs.states[number][1]
            facts = self.acknowledged(state.nodes, facts, history, commands[0], worker)
            number = self.programs.step(number, (True,), None)
        slot = Slot(number, (WAITING,) * len(commands), rest)
        return state._replace(slots=put(state.slots, worker, slot), facts=facts)

    # -- what must hold

    def acknowledged(
        self,
        nodes: tuple[Node, ...],
        facts: Facts,
        history: tuple[Replies, ...],
        ask: Ask,
        worker: int,
    ) -> Facts:
        what, name, record, holders = ask.value
        for at in holders:
            item = nodes[at].items[ask.key]
            spoiled = item is not None and (item.base is None or not read(item).complete)
            if not nodes[at].lost or (spoiled and nodes[at].lost in SPOILED):
                if not covers(read(item).record if item else None, record):
                    raise ViolationError(f"holds: {worker} named node {at}, which lacks something")
                base = item.base if item else None
                both_data = base is not None and base.kind == DATA == record.kind
                if base and both_data and base.renewed < record.renewed:
                    raise ViolationError(f"lives: {worker} named node {at}, which forgets early")
        if what == "logout":
            return facts._replace(out=True)
        if what != "write":
            entries = {entry[0]: entry for entry in record.entries}
            news = entries[name] if what == "followed" else what
            return facts._replace(moved=(*facts.moved, news))
        newest = dict(facts.newest)
        if name:
            stamp = next(entry[1] for entry in record.entries if entry[0] == name)
            if stamp <= dict(history[0][0][0][1])[name]:
                raise ViolationError(f"order: {worker} changed {name} later with a lower stamp")
            newest[name] = max(newest[name], stamp)
        return facts._replace(
            newest=tuple(newest.items()), version=max(facts.version, record.version)
        )

    def judge(self, state: State) -> None:
        writers = sum(bool(self.commands(slot)) or not slot.rest for slot in state.slots)
        for at, node in enumerate(state.nodes):
            item = node.items[0]
            if item and len(item.changes) > LIMIT + writers + 1:
                raise ViolationError(f"bounded: {len(item.changes)} changes on node {at}")
        misses = any(
            commands and commands[0].what == "miss" for commands in map(self.commands, state.slots)
        )
        busy = bool(state.late) or any(map(self.is_busy, state.slots))
        hit = {
            "ms" if node.lost == "ms" else at for at, node in enumerate(state.nodes) if node.lost
        }
        for worker in range(len(state.views)):
            failed = hit | {at for who, at in state.cuts if who == worker}
            if misses or len(failed) > 1 or (failed and busy):
                continue
            if state.facts.out:
                self.judge_logout(state, worker)
                continue
            seen = self.found(state, worker, state.facts.version)
            if seen is None:
                raise ViolationError(f"reads: {worker} finds nothing")
            there = {entry[0]: entry[1] for entry in seen.entries}
            for name, stamp in state.facts.newest if seen.kind == DATA else ():
                if there.get(name, 0) < stamp:
                    raise ViolationError(f"reads: {worker} does not see the change of {name}")

    def judge_logout(self, state: State, worker: int) -> None:
        if any(node.lost == "evict" or node.unnoticed for node in state.nodes):
            return
        for at_least in (0, state.facts.version):
            seen = self.found(state, worker, at_least)
            if seen and seen.kind != DEAD:
                raise ViolationError(f"logout: {worker} shows the session after it")

    def judge_end(self, state: State) -> None:
        newest, _, out, moved = state.facts
        hits = sum(bool(node.lost) for node in state.nodes)
        for at in range(self.rules.homes):
            node = state.nodes[at]
            exempt = node.lost in FINAL or node.unnoticed
            exempt |= bool(node.lost) and (bool(state.cuts) or hits > 1)
            if exempt or not trusted(state.fleet[at]):
                continue
            held = read(node.items[0]).record
            there = {entry[0]: entry[1] for entry in held.entries} if held else {}
            lacks = any(there.get(name, 0) < stamp for name, stamp in newest)
            if held is None or (held.kind == DATA and (out or lacks)):
                raise ViolationError(f"trusted: node {at} lacks something")
        if "moved" in moved and hits < 2:
            target: Record | None = None
            for node in state.nodes:
                target = join(target, read(node.items[1]).record)
            there = {entry[0]: entry[1] for entry in target.entries} if target else {}
            for name, stamp in newest:
                if there.get(name, 0) < stamp:
                    raise ViolationError(f"moved: the new session lacks the change of {name}")

    def found(self, state: State, worker: int, at_least: int) -> Record | None:
        """Return what *worker* would read at this moment."""
        lost = {at for who, at in state.cuts if who == worker}
        view: tuple[Any, ...] = tuple(
            ERROR if not node.up or at in lost else node.items[0]
            for at, node in enumerate(state.nodes)
        )
        key = view, state.fleet, at_least
        if key not in self._reads:
            record, asked = None, 0
            for at, item in enumerate(view):
                seen = read_by(self.rules, item) if item != ERROR else None
                if seen is None or seen.strange:
                    continue
                record, asked = join(record, seen.record), asked + 1
                alone = at < self.rules.homes and trusted(state.fleet[at])
                new = seen.record is not None and seen.record.version >= at_least
                if (seen.complete and alone and new) or asked > self.rules.homes:
                    break
            self._reads[key] = record
        return self._reads[key]

    def search(self, limit: int) -> Result:
        """Try every order of steps, shortest first, until *limit* states are known."""
        came: dict[State, tuple[State, str] | None] = {self.first: None}
        queue = deque([self.first])
        while queue and len(came) < limit:
            state, label = queue.popleft(), "here"
            try:
                self.judge(state)
                for label, after in self.steps(state):
                    if after not in came:
                        came[after] = (state, label)
                        queue.append(after)
                label = "at the end"
                active = any(self.commands(slot) or slot.rest for slot in state.slots)
                if not active and not state.late:
                    self.judge_end(state)
            except ViolationError as violation:
                way = [label]
                while (step := came[state]) is not None:
                    state, label = step
                    way.append(label)
                return Result(len(came), str(violation), way[::-1], complete=False)
        return Result(len(came), "", [], complete=not queue)


def nothing() -> Iterator[tuple[Ask, ...]]:
    yield ()
