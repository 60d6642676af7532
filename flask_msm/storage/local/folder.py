"""The private folder of local storage: who owns it, who may read it, whose key it was made with.

It is as safe as the folders above it: a user who may write to one of those can put another folder
in its place. So all of them are checked, up to the root.
"""

from __future__ import annotations

import grp
import os
import pwd
import re
import secrets
import shutil
import stat
import tempfile
import time
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from flask_msm.storage.store import LocalStorageError


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from flask_msm.record.keys import Keyring


#: A folder of another secret that was not written for so long is removed, seconds.
STALE_AFTER = 7 * 24 * 3600.0
MOST_BYTES = 256 * 1024 * 1024
#: At least so much: a disk that is full now may have room later.
LEAST_BYTES = 16 * 1024 * 1024


class Folder(NamedTuple):
    """Where local storage is kept.

    *journal* has one file for each session that is nowhere else, *changes* the journals of workers.
    """

    sessions: Path
    journal: Path
    locks: Path
    changes: Path


def folder_name(prefix: str, node_ids: Iterable[str], root: str) -> str:
    """Return the folder's name: applications that differ in these keep their sessions apart."""
    text = "\0".join([prefix, *sorted(node_ids), root])
    return blake2b(text.encode(errors="surrogatepass"), digest_size=8).hexdigest()


def node_marks(prefix: str, node_ids: Iterable[str], root: str) -> list[str]:
    """Return for each node what a folder is found by when others were added or removed."""
    return [folder_name(prefix, [node_id], root) for node_id in node_ids]


def open_folder(
    base: Path | None,
    name: str,
    keys: Keyring,
    *,
    make: bool = True,
    marks: Iterable[str] = (),
) -> Folder:
    """Return the folder of local storage.

    Args:
        base: What the user chose; ``None`` for the first of runtime directory, ``/dev/shm`` and
            temporary directory that can be written.
        name: See ``folder_name``.
        keys: Part of the folder's name: what was made with another secret is left alone.
        make: Whether it is made if it is not there.
        marks: See ``node_marks``. A folder that was used with one of the nodes is used on: what
            was kept there in an outage must not be left behind when a node is added.

    Raises:
        LocalStorageError: There is no place that belongs to this user alone.
    """
    checks = [_check(secret) for secret in (keys.current.secret, *keys.by_id.values())]
    marks = list(marks)
    troubles = []
    for parent in _places(base, make=make):
        try:
            # Where a folder of a former secret is it is used on: keys are rotated, sessions stay.
            there = _made_or_used_with(parent, name, checks)
            there = there or _used_with_nodes(parent, marks, checks)
            if not there and not make:
                continue
            if base is None:
                _private(parent)
            path = there[0] if there else parent / f"{name}-{checks[0]}"
            folder = _made(path, checks[0], marks)
        except OSError as error:
            troubles.append(f"{parent}: {error.strerror or error}")
        else:
            _remove_forsaken(path, name)
            return folder
    raise LocalStorageError("; ".join(troubles) or "no folder can be written")


def make_again(folder: Folder, keys: Keyring, marks: Iterable[str]) -> bool:
    """Make what was removed of *folder*; return whether anything was.

    Systems remove what a user has in memory with the last log-out, and temporary files in time.
    """
    if all(map(Path.is_dir, folder)):
        return False
    try:
        _made(folder.sessions.parent, _check(keys.current.secret), marks)
    except OSError:
        return False
    return True


def default_size(folder: Folder) -> int:
    """Return how many bytes local storage takes if it is not set: a quarter of what is free."""
    try:
        free = shutil.disk_usage(folder.sessions).free
        return max(LEAST_BYTES, min(MOST_BYTES, free // 4))
    except OSError:
        return MOST_BYTES


def _places(base: Path | None, *, make: bool) -> Iterator[Path]:
    """Yield where the folder may be, best first."""
    if base is not None:
        yield base
        return
    parents = _parents()
    # Where another name was needed once it is used on: all workers of a host share one folder.
    yield from filter(None, map(_noted, parents))
    yield from parents
    if make:
        yield from filter(None, map(_another, filter(_is_taken, parents)))


def _parents() -> list[Path]:
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    places = [runtime, "/dev/shm"]  # noqa: S108  (made private below)
    with suppress(FileNotFoundError):  # there is none where the root of files is read-only
        places.append(tempfile.gettempdir())
    own = f"flask_msm-{os.getuid()}"
    return [Path(place) / own for place in places if place and os.access(place, os.W_OK)]


def _is_taken(parent: Path) -> bool:
    """Return whether something of another user has our name."""
    try:
        return parent.lstat().st_uid != os.getuid()
    except OSError:
        return False


def _note(parent: Path) -> Path:
    """Return the file beside *parent* with the name that is used instead."""
    return parent.with_name(f"{parent.name}.name")


def _noted(parent: Path) -> Path | None:
    """Return the folder that is used instead of *parent*; ``None`` without one."""
    try:
        file = os.open(_note(parent), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        found = os.fstat(file)
        if found.st_uid != os.getuid() or not stat.S_ISREG(found.st_mode) or found.st_mode & 0o077:
            return None
        name = os.read(file, 200).decode("ascii", "replace")
    finally:
        os.close(file)
    is_ours = re.fullmatch(f"{re.escape(parent.name)}-[0-9a-f]{{16}}", name)
    return parent.with_name(name) if is_ours else None


def _another(parent: Path) -> Path | None:
    """Choose another name than that of *parent*, and note it for all workers of this host."""
    name = f"{parent.name}-{secrets.token_hex(8)}"
    unnoted = parent.with_name(f"{name}.new")
    with suppress(OSError):
        file = os.open(unnoted, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.write(file, name.encode())
            # Whole or not at all, and never in place of what another worker noted meanwhile.
            os.link(unnoted, _note(parent))
        except FileExistsError:
            pass
        finally:
            os.close(file)
            unnoted.unlink()
    return _noted(parent)


def _made(path: Path, check: str, marks: Iterable[str]) -> Folder:
    """Make the folder at *path*, or what is missing of it; see ``_check`` and ``node_marks``."""
    _private(path)
    _check_above(path)
    _note_use(path / "secrets", [check])
    _note_use(path / "nodes", marks)
    folder = Folder(*(path / part for part in Folder._fields))
    for part in folder:
        _private(part)
    return folder


def _private(path: Path) -> None:
    """Make *path*, or check that it belongs to this user alone."""
    _make(path)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise NotADirectoryError(0, "is not a folder")
    if found.st_uid != os.getuid():
        raise PermissionError(0, "belongs to another user")
    if found.st_mode & 0o077:
        raise PermissionError(0, "others may read or write it (allowed: mode 0700)")


def _make(path: Path) -> None:
    """Make *path* and what is missing above it, for this user alone under any umask."""
    with suppress(FileExistsError):
        try:
            path.mkdir(mode=0o700)
        except FileNotFoundError:
            _make(path.parent)
            path.mkdir(mode=0o700)


def _check_above(path: Path) -> None:
    """See that no other user can put something else in the place of *path*."""
    real = Path(os.path.realpath(path))
    # Links on the way can be replaced as well, so both ways are looked at.
    for inner in (path, *path.parents, real, *real.parents):
        above = inner.parent
        found = above.stat()
        may_write = found.st_mode & stat.S_IWOTH or (
            found.st_mode & stat.S_IWGRP and not _is_own_group(found.st_gid)
        )
        # With the sticky bit only the owner of a file, or of its folder, can replace it.
        kept = found.st_mode & stat.S_ISVTX and _is_safe_owner(inner.lstat().st_uid)
        if not _is_safe_owner(found.st_uid) or (may_write and not kept):
            raise PermissionError(0, f"another user may write {above} and replace what is in it")


def _is_safe_owner(uid: int) -> bool:
    return uid in (0, os.getuid())


def _is_own_group(gid: int) -> bool:
    """Return whether *gid* is the group that a user has for themselves, as most systems make it."""
    try:
        user, group = pwd.getpwuid(os.getuid()), grp.getgrgid(gid)
    except KeyError:
        return False
    named_alike = user.pw_gid == gid and user.pw_name == group.gr_name
    return named_alike and not set(group.gr_mem) - {user.pw_name}


def _made_or_used_with(parent: Path, name: str, checks: list[str]) -> list[Path]:
    """Return the folders that were made with one of our secrets, then those used with one."""
    made = [path for check in checks if (path := parent / f"{name}-{check}").exists()]
    return made or [
        path
        for path in parent.glob(f"{name}-*")
        if any((path / "secrets" / check).exists() for check in checks)
    ]


def _used_with_nodes(parent: Path, marks: list[str], checks: list[str]) -> list[Path]:
    """Return the folders that were used with one of our nodes and secrets, the last used first."""
    found = [
        path
        for path in parent.glob("*-*")
        if any((path / "nodes" / mark).exists() for mark in marks)
        and any((path / "secrets" / check).exists() for check in checks)
    ]
    return sorted(found, key=_used_at, reverse=True)


def _used_at(path: Path) -> float:
    """Return when a folder was used last, seconds since the epoch."""
    try:
        return (path / "sessions").stat().st_mtime
    except OSError:
        return 0.0  # a worker died before it was made, or it was removed


def _note_use(uses: Path, names: Iterable[str]) -> None:
    """Note what the folder is used with: it outlives the secret and the nodes of its name."""
    _private(uses)
    for name in names:
        if not (uses / name).exists():
            (uses / name).touch(mode=0o600)


def _remove_forsaken(ours: Path, name: str) -> None:
    """Remove folders of secrets that were not used for long: they cannot be read any more."""
    for path in ours.parent.glob(f"{name}-*"):
        with suppress(OSError):
            if path != ours and time.time() - (path / "sessions").stat().st_mtime > STALE_AFTER:
                shutil.rmtree(path)


def _check(secret: bytes) -> str:
    """Return what names the folder of a secret and reveals nothing about it."""
    return blake2b(b"flask_msm local storage", key=secret, digest_size=8).hexdigest()
