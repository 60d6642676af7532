"""The application's secrets, read from its configuration at use as Flask does."""

from __future__ import annotations

import logging
from functools import cache
from typing import TYPE_CHECKING

from .errors import ConfigError


if TYPE_CHECKING:
    from flask import Flask

    from .record.keys import Secrets


logger = logging.getLogger("flask_msm")

_FALLBACKS = "SECRET_KEY_FALLBACKS"


def secrets_of(app: Flask) -> Secrets | None:
    """Return the current secret, then the fallbacks; ``None`` without a secret.

    Fallbacks in one text are ignored: taken as a list, each letter of it would be a key.
    """
    current = app.secret_key
    if not current:
        return None
    fallbacks = app.config[_FALLBACKS] or ()
    if isinstance(fallbacks, str | bytes):
        _log_text_fallbacks()
        return (current,)
    return (current, *fallbacks)


def check_fallbacks(app: Flask) -> None:
    """Refuse fallbacks that ``secrets_of`` would ignore.

    Raises:
        ConfigError: They are one text.
    """
    if isinstance(app.config.get(_FALLBACKS), str | bytes):
        raise ConfigError(_FALLBACKS, "one text", "a list of secrets")


@cache
def _log_text_fallbacks() -> None:
    """Log an error, once for each process."""
    logger.error(
        "%s is one text, must be a list of secrets: it is ignored, and cookies signed with an"
        " older secret are not accepted",
        _FALLBACKS,
    )
