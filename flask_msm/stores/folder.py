"""The private folder of local storage: who owns it, who may read it, whose key it was made with."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
import time
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from .ports import LocalStorageError


if TYPE_CHECKING:
    from collections.abc import Iterable

    from flask_msm.record.keys import Keyring


#: A folder of another secret that was not written for so long is removed, seconds.
FORSAKEN = 7 * 24 * 3600.0
MOST_BYTES = 256 * 1024 * 1024
#: A disk that is full now is not full for ever.
LEAST_BYTES = 16 * 1024 * 1024


class Folder(NamedTuple):
    """Where local storage is kept.

    Attributes:
        sessions: One file for each session.
        journal: One file for each session that is nowhere else.
        locks: Lock files.
    """

    sessions: Path
    journal: Path
    locks: Path


def folder_name(prefix: str, node_ids: Iterable[str], root: str) -> str:
    """Return the folder's name: applications that differ in these keep their sessions apart."""
    text = "\0".join([prefix, *sorted(node_ids), root])
    return blake2b(text.encode(errors="surrogatepass"), digest_size=8).hexdigest()


def open_folder(base: Path | None, name: str, keys: Keyring, *, make: bool = True) -> Folder:
    """Return the folder of local storage.

    Args:
        base: What the user chose; ``None`` for the first of runtime directory, ``/dev/shm`` and
            temporary directory that can be written.
        name: See ``folder_name``.
        keys: Part of the folder's name: what was made with another secret is left alone.
        make: Whether it is made if it is not there.

    Raises:
        LocalStorageError: There is no place that belongs to this user alone.
    """
    checks = [_check(secret) for secret in (keys.current.secret, *keys.by_id.values())]
    troubles = []
    for parent in _parents(base):
        # Where a folder of a former secret is it is used on: keys are rotated, sessions stay.
        there = _made_or_used_with(parent, name, checks)
        if not there and not make:
            continue
        try:
            if base is None:
                _private(parent)
            path = there[0] if there else parent / f"{name}-{checks[0]}"
            _private(path)
            _note_use(path / "secrets", checks[0])
            folder = Folder(path / "sessions", path / "journal", path / "locks")
            for part in folder:
                _private(part)
        except OSError as error:
            troubles.append(f"{parent}: {error.strerror or error}")
        else:
            _remove_forsaken(path, name)
            return folder
    raise LocalStorageError("; ".join(troubles) or "no folder can be written")


def default_size(folder: Folder) -> int:
    """Return how many bytes local storage takes if nobody says: a quarter of what is free."""
    try:
        free = shutil.disk_usage(folder.sessions).free
        return max(LEAST_BYTES, min(MOST_BYTES, free // 4))
    except OSError:
        return MOST_BYTES


def _parents(base: Path | None) -> list[Path]:
    if base is not None:
        return [base]
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    places = [runtime, "/dev/shm", tempfile.gettempdir()]  # noqa: S108  (made private below)
    own = f"flask_msm-{os.getuid()}"
    return [Path(place) / own for place in places if place and os.access(place, os.W_OK)]


def _private(path: Path) -> None:
    """Make *path*, or see that it belongs to this user and to nobody else."""
    with suppress(FileExistsError):
        path.mkdir(mode=0o700, parents=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise NotADirectoryError(0, "is not a folder")
    if found.st_uid != os.getuid():
        raise PermissionError(0, "belongs to another user")
    if found.st_mode & 0o077:
        raise PermissionError(0, "others may read or write it (allowed: mode 0700)")


def _made_or_used_with(parent: Path, name: str, checks: list[str]) -> list[Path]:
    """Return the folders that were made with one of our secrets, then those used with one."""
    made = [path for check in checks if (path := parent / f"{name}-{check}").exists()]
    return made or [
        path
        for path in parent.glob(f"{name}-*")
        if any((path / "secrets" / check).exists() for check in checks)
    ]


def _note_use(secrets: Path, check: str) -> None:
    """Note that the folder is used with a secret: it outlives the secret it was made with."""
    _private(secrets)
    if not (secrets / check).exists():
        (secrets / check).touch(mode=0o600)


def _remove_forsaken(ours: Path, name: str) -> None:
    """Remove folders of secrets that nobody has used for long: nobody can read them any more."""
    for path in ours.parent.glob(f"{name}-*"):
        with suppress(OSError):
            if path != ours and time.time() - (path / "sessions").stat().st_mtime > FORSAKEN:
                shutil.rmtree(path)


def _check(secret: bytes) -> str:
    """Return what names the folder of a secret and tells nothing about it."""
    return blake2b(b"flask_msm local storage", key=secret, digest_size=8).hexdigest()
