"""What operators may choose, and what is said of an order and of what became of it."""

from __future__ import annotations

from typing import NamedTuple


#: Most characters that are kept of a name or a reason.
LONGEST = 200


class Order(NamedTuple):
    """Who changes something, and on what grounds.

    Attributes:
        actor: The operator.
        reason: Why, in their words.
        based_on: Stamp of the setting as they saw it; ``None`` to change it whatever it is.
    """

    actor: str
    reason: str = ""
    based_on: str | None = None


class Done(NamedTuple):
    """What became of a change.

    Attributes:
        stamp: Its stamp.
        nodes: Nodes that know it; with none, only workers of this host hear of it now.
        event: Id of the event that was written down.
        text: What was done, in one sentence.
    """

    stamp: int
    nodes: tuple[str, ...]
    event: int
    text: str


class Change(NamedTuple):
    """What a change changed, in words.

    Attributes:
        before: What held until then.
        after: What holds since then.
    """

    before: str | None = None
    after: str | None = None
