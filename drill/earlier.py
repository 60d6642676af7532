"""An earlier version of the project, from which an act upgrades."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
from functools import cache
from pathlib import Path

from harness.processes import ROOT


#: The last commit before identities of nodes and the clock of the fleet.
_COMMIT = "8776086"
_GIT = ("git", "-C", str(ROOT))


@cache
def has_earlier() -> bool:
    """Return whether this copy of the project has a history that goes back far enough."""
    if shutil.which("git") is None:
        return False
    command = [*_GIT, "cat-file", "-e", f"{_COMMIT}^{{commit}}"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def unpack(folder: Path) -> Path:
    """Return a folder inside *folder* that has the earlier version."""
    if not has_earlier():
        raise AssertionError(f"this copy of the project has no history back to {_COMMIT}")
    packed = subprocess.run([*_GIT, "archive", _COMMIT], capture_output=True, check=True)
    root = folder / "earlier"
    with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
        archive.extractall(root, filter="data")
    return root
