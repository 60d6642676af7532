"""Who may look and who may act. Closed unless ``MSM_ADMIN_ACCESS`` opens it."""

from __future__ import annotations

import importlib
import inspect
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from werkzeug.exceptions import TooManyRequests

from flask_msm.errors import ConfigError


if TYPE_CHECKING:
    from flask import Request


logger = logging.getLogger("flask_msm.admin")

Level = Literal["read", "write"]
SETTING = "MSM_ADMIN_ACCESS"
_ALLOWED = "a callable, or 'package.module:name' of one, that is not async"
_LONGEST_NAME = 64

#: Callables that are the value of this attribute, or whose class is, look at the request alone: no
#: session is opened to ask them. What derives from them or wraps them may do more.
LOOKS_AT_REQUEST_ALONE = "_flask_msm_looks_at_request_alone"


@dataclass(frozen=True, slots=True)
class Access:
    """What the sender of a request may do, and the name that goes into the audit.

    Attributes:
        level: ``read`` or ``write``.
        name: The operator's name.
    """

    level: Level
    name: str = ""

    @property
    def can_write(self) -> bool:
        """Whether changes are allowed."""
        return self.level == "write"


class AccessControl:
    """Asks the application's callable, and takes only exact answers for a yes.

    Args:
        ask: ``MSM_ADMIN_ACCESS``: a callable that takes the request, its import path, or
            ``None`` for a dashboard that is closed to all requests.
        within: Calls it with a request, in a request context of the application.

    Attributes:
        configured: Whether there is anything to ask.

    Raises:
        ConfigError: *ask* cannot be imported, called, or is ``async``.
    """

    def __init__(
        self,
        ask: Callable[..., Any] | str | None,
        within: Callable[[Callable[..., Any], Request], Any] | None = None,
    ) -> None:
        self._ask = _imported(ask) if isinstance(ask, str) else ask
        self.configured = self._ask is not None
        if self._ask is not None and _is_async(self._ask):
            # A coroutine is truthy: every request would get in.
            raise ConfigError(SETTING, ask, _ALLOWED)
        self._within = within
        alone = getattr(self._ask, LOOKS_AT_REQUEST_ALONE, None)
        if alone is not None and (alone is self._ask or alone is type(self._ask)):
            self._within = None
        self._complained = False

    @property
    def challenge(self) -> str | None:
        """What makes a browser ask for a password, if the callable takes one."""
        found = getattr(self._ask, "challenge", None)
        return found if isinstance(found, str) else None

    def operator(self, request: Request) -> Access | None:
        """Return what the sender of *request* may do; ``None`` for nothing.

        Raises:
            TooManyRequests: The callable raised it: it did not look, and the sender may come back.
        """
        if self._ask is None:
            return None
        try:
            within = self._within
            answer = self._ask(request) if within is None else within(self._ask, request)
        except TooManyRequests:
            raise
        except Exception:  # noqa: BLE001 - an error of any kind is no permission
            self._complain(
                "%s raised; access is refused. Hooks of the application do not run for the"
                " dashboard: what they put into g has to be loaded in the callable",
                exc_info=True,
            )
            return None
        level, name = answer, ""
        if isinstance(answer, Access):
            level, name = answer.level, _plain(answer.name)
        # A text first: other objects may compare equal to anything.
        if isinstance(level, str):
            if level == "read":
                return Access("read", name)
            if level == "write":
                return Access("write", name)
        if answer is not None:
            kind = type(answer).__name__
            self._complain(f"%s returned {kind}, not None, 'read', 'write' or an Access")
        return None

    def note_late(self) -> None:
        """Write down, once, that the setting came too late."""
        self._complain("%s was set after init_app and is not used: set it before")

    def _complain(self, message: str, *, exc_info: bool = False) -> None:
        if not self._complained:
            self._complained = True
            logger.error(message, SETTING, exc_info=exc_info)


def _plain(name: object) -> str:
    text = name if isinstance(name, str) else ""
    return "".join(c for c in text if c.isprintable())[:_LONGEST_NAME]


def _is_async(ask: Callable[..., Any]) -> bool:
    call = getattr(ask, "__call__", None)  # noqa: B004 - an object with an async __call__
    return inspect.iscoroutinefunction(ask) or inspect.iscoroutinefunction(call)


def _imported(path: str) -> Callable[..., Any]:
    module, separator, name = path.partition(":")
    if not separator:
        module, _, name = path.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(SETTING, path, _ALLOWED) from error
    if not callable(found):
        raise ConfigError(SETTING, path, _ALLOWED)
    return found  # type: ignore[no-any-return]
