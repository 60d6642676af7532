"""Waiting for a condition, never for a time."""

from __future__ import annotations

import time
from collections.abc import Callable


#: Seconds in which anything here starts, ends or is noticed, on a machine that is busy as well.
PATIENCE = 90.0
#: Seconds between two looks.
_LOOK_AGAIN = 0.01


class DrillError(Exception):
    """The drill itself cannot go on; the text is for the person who runs it."""


def wait_until(condition: Callable[[], bool], what: str, patience: float = PATIENCE) -> None:
    """Return once *condition* holds.

    Args:
        condition: What is waited for; looked at again and again.
        what: The same in words.
        patience: Time in seconds after which it is given up.

    Raises:
        DrillError: It took longer.
    """
    end = time.monotonic() + patience
    while not condition():
        if time.monotonic() > end:
            message = f"waited {patience:g} s for: {what}"
            raise DrillError(message)
        time.sleep(_LOOK_AGAIN)
