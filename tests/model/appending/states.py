"""States of the model, as tuples that can be compared and looked up."""

from __future__ import annotations

from typing import Any, NamedTuple

from .programs import Ask, Replies, trusted
from .records import Item


class Node(NamedTuple):
    up: bool = True
    full: bool = False
    epoch: int = 0
    lost: str = ""
    unnoticed: bool = False
    items: tuple[Item | None, Item | None] = (None, None)


class Slot(NamedTuple):
    """One worker: the number of its program's state, replies so far, what it does next."""

    number: int
    replies: tuple[Any, ...]
    rest: tuple[Any, ...]


class Facts(NamedTuple):
    """What was acknowledged: newest stamp by name, version, whether it ended or moved."""

    newest: tuple[tuple[str, int], ...] = (("x", 8), ("y", 8))
    version: int = 8
    out: bool = False
    moved: tuple[Any, ...] = ()


class State(NamedTuple):
    nodes: tuple[Node, ...]
    fleet: tuple[tuple[int, int], ...]
    views: tuple[tuple[tuple[int, int], ...], ...]
    slots: tuple[Slot, ...]
    late: tuple[Ask, ...]
    facts: Facts
    faults: int
    cuts: frozenset[tuple[int, int]]
    rebuilds: int


class Programs:
    """States of programs as numbers: a program, and all the replies it got."""

    def __init__(self) -> None:
        self.states: list[tuple[Any, tuple[Replies, ...], tuple[Ask, ...]]] = []
        self._numbers: dict[Any, int] = {}

    def number(self, program: Any, history: tuple[Replies, ...] = ()) -> int:
        if (program, history) not in self._numbers:
            running = program()
            try:
                commands = next(running)
                for replies in history:
                    commands = running.send(replies)
            except StopIteration:
                commands = ()
            self._numbers[program, history] = len(self.states)
            self.states.append((program, history, commands))
        return self._numbers[program, history]

    def step(self, number: int, replies: tuple[Any, ...], fleet: Any) -> int:
        program, history, _ = self.states[number]
        return self.number(program, (*history, (replies, fleet)))


def put(row: tuple[Any, ...], place: int, value: Any) -> tuple[Any, ...]:
    return (*row[:place], value, *row[place + 1 :])


def missed(fleet: tuple[tuple[int, int], ...], node: int) -> tuple[tuple[int, int], ...]:
    """Return the fleet after a home was left out."""
    since, rebuilt = fleet[node]
    return put(fleet, node, (since + 1, rebuilt)) if trusted(fleet[node]) else fleet
