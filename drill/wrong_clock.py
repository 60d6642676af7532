"""A host whose clock is wrong, with faketime."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache


#: How far it is off, as faketime takes it.
_OFF = "+1h"


@cache
def wrong_clock() -> dict[str, str] | None:
    """Return environment variables of processes whose clock is wrong; ``None`` without faketime."""
    faketime = shutil.which("faketime")
    if faketime is None:
        return None
    # Where the library is differs from system to system.
    command = [faketime, "-f", _OFF, "printenv", "LD_PRELOAD"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return {
        "LD_PRELOAD": done.stdout.strip(),
        "FAKETIME": _OFF,
        # The clock that cannot be set stays right. There are two names for this, old and new.
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",
    }
