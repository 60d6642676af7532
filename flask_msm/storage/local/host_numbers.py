"""What the workers of a host counted, for all of them to see: a small file of each.

They are written and read while no node answers as well. Of a worker that ended its file stays for a
while, so that its last counts are collected.
"""

from __future__ import annotations

import json
import time
from contextlib import suppress
from hashlib import blake2b
from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    from pathlib import Path


#: What a worker that is gone counted is shown for so long, seconds.
KEPT = 600.0
#: Larger files, and more of them, are not read: bytes.
LARGEST, MOST = 64 * 1024, 1000
_ENDING = ".json"


def write(place: Path, worker: str, facts: dict[str, Any]) -> None:
    """Write what *worker* counted to the folder of its host; it fails without a word."""
    folder = place / "numbers"
    name = folder / (blake2b(worker.encode(), digest_size=8).hexdigest() + _ENDING)
    unfinished = name.with_suffix(".new")
    with suppress(OSError):
        folder.mkdir(mode=0o700, exist_ok=True)
        unfinished.write_bytes(json.dumps(facts, separators=(",", ":")).encode())
        unfinished.replace(name)


def read(place: Path) -> list[dict[str, Any]]:
    """Return what the workers of the host wrote, in the order of their files."""
    found: list[dict[str, Any]] = []
    with suppress(OSError):
        files = sorted((place / "numbers").glob(f"*{_ENDING}"))
        for file in files[:MOST]:
            facts = _facts(file)
            if facts is not None:
                found.append(facts)
    return found


def _facts(file: Path) -> dict[str, Any] | None:
    """Return what is in a file; one of a worker that ended long ago is removed."""
    try:
        status = file.stat()
        if time.time() - status.st_mtime > KEPT:
            file.unlink(missing_ok=True)
            return None
        if status.st_size > LARGEST:
            return None
        facts = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return facts if isinstance(facts, dict) else None
