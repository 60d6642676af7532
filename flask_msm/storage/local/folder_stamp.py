"""Whether a folder is as it was when it was listed: one system call instead of a list."""

from __future__ import annotations

import os
import time


#: What changes a folder may leave its time as it is, for as long as file systems count in steps:
#: two seconds at most. A folder that changed no longer ago than this is listed again, seconds.
SETTLED = 2.1


def settled_stamp(folder: str) -> tuple[int, int] | None:
    """Return what differs when files were made in *folder*, or removed, since.

    Take it before the folder is listed.

    Returns:
        ``None`` if more may change without being seen: list it anew.
    """
    try:
        found = os.stat(folder)  # noqa: PTH116  (asked with each copy)
    except OSError:
        return None
    settled = time.time() - found.st_mtime > SETTLED
    return (found.st_ino, found.st_mtime_ns) if settled else None
