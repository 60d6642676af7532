"""What happens to an attribute that cannot be stored: a failure goes in, a verdict comes out.

Pure: a policy looks at a ``Failure`` and returns a verdict; its caller acts. An application may
bring a callable of its own (``MemcachedSessionManager(policy=...)``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from .errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An attribute that cannot be stored. Names only, never a value.

    Attributes:
        attribute: Its name; ``None`` when the name itself is not a string.
        path: Where in the session, for example ``cart[3].lock``.
        type_name: Qualified name of the type that was found there.
        error: Name of the class of what was raised.
        reason: Why, in words.
        endpoint: Endpoint of the request, if it had one.
        size: Size of the session in bytes when it is too large, else ``None``.
        limit: The largest size allowed, in bytes, when it is too large, else ``None``.
    """

    attribute: str | None
    path: str
    type_name: str
    error: str
    reason: str
    endpoint: str | None
    size: int | None = None
    limit: int | None = None

    @property
    def too_large(self) -> bool:
        """Whether the session as a whole is too large; the attribute takes most room."""
        return self.size is not None


@dataclass(frozen=True, slots=True)
class Reraise:
    """The request fails; what was stored stays."""


@dataclass(frozen=True, slots=True)
class StoreNone:
    """``None`` is stored for the attribute, the rest as usual."""


@dataclass(frozen=True, slots=True)
class KeepLocal:
    """The live object stays in this process; the rest is stored as usual."""


@dataclass(frozen=True, slots=True)
class StopDistribution:
    """Like ``KeepLocal``, and the whole fleet keeps its sessions on its hosts until resumed."""


Verdict = Reraise | StoreNone | KeepLocal | StopDistribution
Policy = Callable[[Failure], Verdict]

#: The policies of ``MSM_SERIALIZATION_POLICY``.
VERDICTS: Mapping[str, Verdict] = MappingProxyType(
    {
        "raise": Reraise(),
        "local": KeepLocal(),
        "stop": StopDistribution(),
        "blacklist": StoreNone(),
    }
)
#: What the policy in force is called while it is the application's own.
CUSTOM = "custom"

_ALLOWED = "a callable that returns Reraise(), StoreNone(), KeepLocal() or StopDistribution()"


class PolicyInForce:
    """The policy that counts now: chosen at run time, else the application's own, else configured.

    Args:
        configured: Returns the name of the configured policy.
        custom: The application's own policy.
        chosen: Returns the name of the policy that was chosen at run time, ``None`` if none was;
            asked for each failure, so it must not wait for anything.

    Attributes:
        chosen: See above; may be replaced.

    Raises:
        ConfigError: *custom* is not callable.
    """

    def __init__(
        self,
        configured: Callable[[], str],
        *,
        custom: Policy | None = None,
        chosen: Callable[[], str | None] = lambda: None,
    ) -> None:
        if custom is not None and not callable(custom):
            raise ConfigError("policy", _named(custom), f"{_ALLOWED}, or None")
        self.chosen = chosen
        self._configured = configured
        self._custom = custom

    @property
    def name(self) -> str:
        """``raise``, ``local``, ``stop``, ``blacklist`` or ``custom``."""
        chosen = self.chosen()
        # A newer version may know policies that this one does not.
        if chosen is not None and chosen in VERDICTS:
            return chosen
        return self._configured() if self._custom is None else CUSTOM

    def verdict(self, failure: Failure) -> Verdict:
        """Return what is to happen.

        Raises:
            ConfigError: The application's own policy raised, or returned something else.
        """
        name = self.name
        if name != CUSTOM or self._custom is None:
            return VERDICTS[name]
        try:
            verdict = self._custom(failure)
        except Exception as error:
            what = f"raised {type(error).__qualname__}"
            raise ConfigError("policy", what, _ALLOWED) from error
        # A policy may be untyped code.
        if not isinstance(verdict, Verdict):
            raise ConfigError("policy", f"returned {_named(verdict)}", _ALLOWED)
        return verdict


def _named(thing: object) -> str:
    # Not its repr: that is code, and data, of the application.
    if isinstance(thing, type):
        return f"the class {thing.__qualname__}, not an object of it"
    return f"an object of type {type(thing).__qualname__}"
