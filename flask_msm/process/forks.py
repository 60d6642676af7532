"""What a forked child must not share with its parent."""

from __future__ import annotations

import os
import weakref
from typing import Protocol


class Forgetful(Protocol):
    """Has something that belongs to the process that made it."""

    def forget(self) -> None:
        """Be as new, in a child: no other thread runs, and what was under way is the parent's."""
        ...


def forget_in_children(one: Forgetful) -> None:
    """Have ``forget`` called in every child that is forked from now on."""
    _all.add(one)


_all: weakref.WeakSet[Forgetful] = weakref.WeakSet()


def _after_fork() -> None:
    for one in list(_all):
        one.forget()


os.register_at_fork(after_in_child=_after_fork)
