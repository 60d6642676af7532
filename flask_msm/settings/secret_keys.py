"""The application's secrets, read from its configuration at use as Flask does."""

from __future__ import annotations

import logging
from functools import cache
from typing import TYPE_CHECKING

from flask_msm.errors import ConfigError
from flask_msm.record.keys import keyring


if TYPE_CHECKING:
    from flask import Flask

    from flask_msm.record.keys import Keyring, Secrets


logger = logging.getLogger("flask_msm")

_CURRENT, _FALLBACKS = "SECRET_KEY", "SECRET_KEY_FALLBACKS"
_ALLOWED = "a list of secrets, each a text or bytes and none empty"


def secrets_of(app: Flask) -> Secrets | None:
    """Return the current secret, then the fallbacks; ``None`` without a secret.

    What is no secret among the fallbacks is ignored: of one text each letter would be a key, and
    with an empty secret any client could sign.
    """
    has_own = _has_own_secret(app.__class__)  # type: ignore[arg-type]
    current = app.secret_key if has_own else app.config[_CURRENT]
    if not current:
        return None
    fallbacks = app.config[_FALLBACKS]
    if not fallbacks:
        return (current,)
    if not isinstance(fallbacks, list | tuple | set | frozenset):
        _log_ignored(f"it is {_kind_of(fallbacks)}")
        return (current,)
    secrets = tuple(filter(_is_secret, fallbacks))
    if len(secrets) < len(fallbacks):
        _log_ignored("some of it is empty or no text")
    return (current, *secrets)


def keyring_of(app: Flask) -> Keyring:
    """Return what signs and verifies records with the secrets of *app* as they are now."""
    has_own = _has_own_secret(app.__class__)  # type: ignore[arg-type]
    current = app.secret_key if has_own else app.config[_CURRENT]
    # Asked for each record that is sealed or opened: without calls, as nearly always.
    if current and not app.config[_FALLBACKS]:
        return keyring((current,))
    return keyring(secrets_of(app) or ("",))


def check_secrets(app: Flask) -> None:
    """Refuse secrets that cannot be used, and fallbacks that ``secrets_of`` would ignore.

    Raises:
        ConfigError: The secret is no text, or the fallbacks are no list of secrets.
    """
    current, fallbacks = app.secret_key, app.config.get(_FALLBACKS)
    if current and not _is_secret(current):
        raise ConfigError("SECRET_KEY", _kind_of(current), "a text or bytes")
    if not fallbacks:
        return
    if not isinstance(fallbacks, list | tuple | set | frozenset):
        raise ConfigError(_FALLBACKS, _kind_of(fallbacks), _ALLOWED)
    if not all(map(_is_secret, fallbacks)):
        raise ConfigError(_FALLBACKS, "a list with something that is no secret", _ALLOWED)


@cache
def _has_own_secret(kind: type) -> bool:
    """Return whether applications of this *kind* have another secret than the configured one."""
    for base in kind.__mro__:
        if "secret_key" in vars(base):
            return base.__module__.partition(".")[0] != "flask"
    return True


def _is_secret(value: object) -> bool:
    return isinstance(value, str | bytes) and bool(value)


def _kind_of(value: object) -> str:
    """Return what *value* is, without showing it."""
    return "one text" if isinstance(value, str | bytes) else f"of type {type(value).__name__}"


@cache
def _log_ignored(what: str) -> None:
    """Log an error, once for each process."""
    logger.error(
        "%s must be a list of secrets: %s, which is ignored, so cookies signed with an older secret"
        " may not be accepted",
        _FALLBACKS,
        what,
    )
