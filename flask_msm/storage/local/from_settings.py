"""Local storage as an application configures it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .backend import BackendOpener
from .folder import folder_name, node_marks
from .store import LocalStore


if TYPE_CHECKING:
    from collections.abc import Callable

    from flask_msm.cluster.events import Events
    from flask_msm.process.clock import Clock
    from flask_msm.record.envelope import Envelope
    from flask_msm.record.keys import Keyring
    from flask_msm.settings.settings import Settings


def local_store(
    settings: Settings,
    *,
    keys: Callable[[], Keyring],
    root: str,
    envelope: Envelope,
    events: Events,
    clock: Clock,
    later: Callable[[Callable[[float], object]], bool],
) -> LocalStore:
    """Return the store of this host, which is opened when it is used."""
    ids = [address.id for address in settings.nodes]

    def trouble(reason: str | None) -> None:
        if reason is None:
            events.add("info", "local_storage_works", "local storage works again", ends="storage")
        else:
            where, shelf = "local storage", shelves.opened
            if shelf is not None and shelf.kind == "filesystem":
                where = f"local storage in {shelf.place}"
            events.add("error", "local_storage_failed", f"{where}: {reason}", begins="storage")

    def report(kind: str, text: str) -> None:
        level = "info" if kind == "journal_taken_over" else "error"
        events.add(level, kind, text)

    shelves = BackendOpener(
        settings.local_cache,
        keys=keys,
        base=settings.local_dir,
        name=folder_name(settings.key_prefix, ids, root),
        sessions=settings.local_max_sessions,
        size=settings.local_max_bytes,
        clock=clock,
        alone=not ids,
        trouble=trouble,
        marks=node_marks(settings.key_prefix, ids, root),
    )
    return LocalStore(
        shelves,
        envelope=envelope,
        max_size=settings.max_record_size,
        clock=clock,
        prefix=settings.key_prefix,
        alone=not ids,
        trouble=trouble,
        later=later,
        report=report,
    )
