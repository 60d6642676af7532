"""What is played: scripts of workers, faults, and the bugs that must be found."""

from __future__ import annotations

from typing import Any, NamedTuple

from .programs import Rules
from .records import DAMAGED, STRANGE
from .world import Result, World


WRITE, OTHER = ("write", "x"), ("write", "y")
#: What each worker does, one request after the other; "old": by the rounds alone.
SCRIPTS: dict[str, tuple[tuple[Any, ...], ...]] = {
    "two attributes": ((WRITE,), (OTHER,)),
    "same attribute": ((WRITE,), (WRITE,)),
    "removed beside written": ((("remove", "x"),), (WRITE,)),
    "logout beside write": ((WRITE,), (("logout",),)),
    "regenerate beside write": ((WRITE,), (("regenerate",),)),
    "refresh beside write": ((WRITE,), (("refresh",),)),
    "old worker beside new": ((WRITE,), (("old", "write", "y"),)),
    "three writers": ((WRITE,), (OTHER,), (WRITE,)),
    "compaction": ((WRITE, WRITE, WRITE), (OTHER,)),
    "compaction and logout": ((WRITE, WRITE, WRITE), (("logout",),)),
}
#: Faults of which one may happen in a run.
FAULTS = ("evict", "corrupt", DAMAGED, STRANGE, "cut", "lose", "die", "oom")
#: The longest of all; for long searches.
CRASH = "crash"


class Bug(NamedTuple):
    """A fault of the protocol, and where it shows."""

    script: str
    fault: str = ""
    most: int = 1
    spare: int = 1


BUGS = {
    "blind append": Bug("two attributes"),
    "no cas on the primary": Bug("regenerate beside write", "cut"),
    "an append counts without being read": Bug("two attributes"),
    "changes without a base are data": Bug("two attributes", "corrupt"),
    "compaction without cas": Bug("compaction"),
    "no new stamp after a conflict": Bug("same attribute", "cut"),
    "done although the base is new": Bug("two attributes", "evict"),
    "a change renews the session": Bug("refresh beside write"),
    "a copy with a damaged change counts": Bug("compaction", DAMAGED),
    "what only others can read is overwritten": Bug("two attributes", STRANGE),
    # Not of the protocol, which leaves nodes that evict nothing alone.
    "appending where memory may run out": Bug("two attributes", "full", most=2, spare=0),
}


def play(
    script: str,
    faults: tuple[str, ...] = FAULTS,
    *,
    bug: str = "",
    homes: int = 2,
    limit: int = 20_000,
    most: int = 1,
    spare: int = 1,
) -> Result:
    """Return what a search found.

    Args:
        script: Name of what the workers do.
        faults: Kinds of faults.
        bug: A bug of the protocol.
        homes: Number of copies.
        limit: States to look at.
        most: Faults in one run.
        spare: Nodes that are not home to the session.
    """
    rules = Rules(nodes=homes + spare, homes=homes, bug=bug)
    return World(SCRIPTS[script], rules, faults, faults=most).search(limit)


def play_bug(name: str, *, limit: int = 50_000) -> Result:
    """Return what a search finds of one of ``BUGS``."""
    bug = BUGS[name]
    return play(bug.script, (bug.fault,), bug=name, limit=limit, most=bug.most, spare=bug.spare)
