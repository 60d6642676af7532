"""Earlier versions of the project, from which an act upgrades or to which it goes back."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
from functools import cache
from pathlib import Path

from harness.processes import ROOT


#: The last commit before identities of nodes and the clock of the fleet.
LONG_AGO = "8776086"
#: The last one that writes and reads format 1 only, and has no journals of changes.
FORMAT_1 = "24c499b"
_GIT = ("git", "-C", str(ROOT))


@cache
def has_earlier(commit: str) -> bool:
    """Return whether this copy of the project has a history that goes back to *commit*."""
    if shutil.which("git") is None:
        return False
    command = [*_GIT, "cat-file", "-e", f"{commit}^{{commit}}"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def unpack(commit: str, folder: Path) -> Path:
    """Return a folder inside *folder* that has the version of *commit*."""
    if not has_earlier(commit):
        raise AssertionError(f"this copy of the project has no history back to {commit}")
    packed = subprocess.run([*_GIT, "archive", commit], capture_output=True, check=True)
    root = folder / "earlier"
    with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
        archive.extractall(root, filter="data")
    return root
