"""What happened, as the fleet reports it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


Level = Literal["info", "warning", "error"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened, merged over the workers that saw it.

    Attributes:
        id: Unique in the fleet and safe in a URL (letters, digits, ``_``, ``.``, ``:``, ``-``).
        at: When it was seen first.
        level: How bad.
        kind: Short name, for example ``node_down``.
        text: One sentence.
        detail: One more, if there is one.
        node: Id of the node it is about.
        workers: Names of the workers that saw it.
        actor: The operator who did it.
        reason: Why, in their words.
        before: What held until then, if something was changed.
        after: What holds since then.
        result: What became of it: which nodes received it.
    """

    id: str
    at: float
    level: Level
    kind: str
    text: str
    detail: str | None = None
    node: str | None = None
    workers: tuple[str, ...] = ()
    actor: str | None = None
    reason: str | None = None
    before: str | None = None
    after: str | None = None
    result: str | None = None
