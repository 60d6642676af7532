"""Long work goes on where it is when a node was busy: begun anew it would load the node more."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from flask_msm.errors import NodeBusyError
from flask_msm.memcached.failures import NotSentError


if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

#: What a node that is busy answers, or does not.
BUSY = NodeBusyError, NotSentError
#: Rests after which a busy node is asked again, seconds; then the work is broken off.
RESTS = 0.5, 1.0, 2.0, 4.0


def patiently(act: Callable[[], T], rest: Callable[[float], object]) -> T:
    """Return what *act* returns, which is called again after a rest while a node is busy.

    Raises:
        NodeError: A node failed, or was busy for too long.
    """
    for seconds in RESTS:
        try:
            return act()
        except BUSY:
            rest(seconds)
    return act()
