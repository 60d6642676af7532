"""Attributes that cannot be stored."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class BlacklistEntry:
    """An attribute that could not be stored, or is pinned. Never a value nor its ``repr``.

    Attributes:
        attribute: Its name; ``None`` when the name was not a string.
        type_name: Qualified name of the type; ``None`` for a pin nothing was seen of.
        path: Where in the session it was found last.
        error: Name of the class of the error.
        reason: Why, in words; ``None`` when that is hidden.
        endpoint: Endpoint of the request that met it last.
        first_seen: When.
        last_seen: When.
        count: How often, all workers.
        workers: Names of the workers that met it.
        added_by: The policy that entered it, or the operator or setting that pinned it.
        pinned: Whether it is always stored as ``None``, without trying.
        from_config: Whether ``MSM_BLACKLIST`` pins it, so that it cannot be unpinned here.
    """

    attribute: str | None
    type_name: str | None = None
    path: str | None = None
    error: str | None = None
    reason: str | None = None
    endpoint: str | None = None
    first_seen: float | None = None
    last_seen: float | None = None
    count: int = 0
    workers: tuple[str, ...] = ()
    added_by: str | None = None
    pinned: bool = False
    from_config: bool = False
