"""Reads the keys of a mapping into the fields of a dataclass: :func:`setting` makes the fields."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import Field, field
from difflib import get_close_matches
from typing import Any, TypeVar

from flask_msm.errors import ConfigError

from .types import InvalidValueError, Kind


T = TypeVar("T")

#: What every key begins with.
PREFIX = "MSM_"

#: Objects, not values: they are handed to the constructor.
_ARGUMENTS = ("clock", "codec", "policy", "scheduler")

#: What people look for here and Flask has a key for.
_FLASK_HAS = {
    **dict.fromkeys(("secret", "secret_key", "key"), "SECRET_KEY"),
    **dict.fromkeys(
        ("secrets", "secret_keys", "secret_key_fallbacks"), "SECRET_KEY and SECRET_KEY_FALLBACKS"
    ),
}


def setting(
    *, default: T, kind: Kind[T], meaning: str, shown: str | None = None, secret: bool = False
) -> T:
    """Return a dataclass field that describes a setting completely.

    Its metadata holds ``kind`` and the texts ``help``, ``allowed`` and ``default``.

    *shown* is the default in words, where it is not a constant. The value of a *secret* is never
    shown, and left out of the ``repr``.
    """
    metadata = {
        "kind": kind,
        "help": meaning,
        "allowed": kind.allowed,
        "default": repr(default) if shown is None else shown,
    }
    return field(default=default, repr=not secret, metadata=metadata)


def is_secret(item: Field[Any]) -> bool:
    """Return whether the value of the field *item* must never be shown."""
    return not item.repr


def read(config: Mapping[str, Any], known: Mapping[str, Field[Any]]) -> dict[str, Any]:
    """Return the values of the fields that *config* sets, by name of the field.

    Raises:
        ConfigError: A key is unknown, or its value not allowed.
    """
    values = {}
    for key, raw in config.items():
        if not isinstance(key, str) or not key.startswith(PREFIX):
            continue
        if key not in known:
            raise _unknown(key, known)
        if not _is_unset(raw):
            values[known[key].name] = _parsed(key, raw, known[key])
    return values


def _is_unset(raw: object) -> bool:
    return raw is None or (isinstance(raw, str) and not raw.strip())


def _parsed(key: str, raw: object, item: Field[Any]) -> Any:
    kind: Kind[Any] = item.metadata["kind"]
    is_none = isinstance(raw, str) and raw.strip().lower() == "none"
    if is_none and item.default in (None, ()):
        return item.default
    try:
        return _refuse() if is_none else kind.parse(raw)
    except ValueError as exc:
        shown, reason = raw, str(exc)
        if is_secret(item):
            shown = "***"
        elif _may_hold_password(raw):
            shown, reason = "***", "it is not shown, for there may be a password in it"
        allowed = f"{kind.allowed} ({reason})" if reason else kind.allowed
        raise ConfigError(key, shown, allowed) from None


def _may_hold_password(raw: object) -> bool:
    # As in user:password@host, or a mapping of users to passwords.
    return isinstance(raw, Mapping) or "@" in repr(raw)


def _refuse() -> None:
    raise InvalidValueError


def _unknown(key: str, known: Mapping[str, Field[Any]]) -> ConfigError:
    name = key.removeprefix(PREFIX).lower()
    names = [item.name for item in known.values()]
    nearest = get_close_matches(name, names, n=1, cutoff=0)[0]
    allowed = f"known names only, the nearest is {PREFIX}{nearest.upper()}"
    if name in _FLASK_HAS:
        allowed = f"known names only; sessions are signed with {_FLASK_HAS[name]}, as Flask's own"
    if name in _ARGUMENTS:
        allowed += f" ({name} is an argument of MemcachedSessionManager)"
    # A secret under a name that is not known is still a secret.
    return ConfigError(key, "***", allowed)
