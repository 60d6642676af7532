"""Flask sessions in several memcached nodes, in two copies.

::

    from flask_msm import MemcachedSessionManager

    msm = MemcachedSessionManager()
    msm.init_app(app)
"""

from __future__ import annotations

from .errors import (
    ConfigError,
    MsmError,
    ReadOnlyError,
    SerializationError,
    SessionTooLargeError,
    SessionUnavailableError,
)
from .extension import MemcachedSessionManager, SessionInfo, destroy, read_only, regenerate
from .interface import MsmSessionInterface
from .sessions.session import Session
from .signals import (
    attribute_blacklisted,
    mode_changed,
    node_changed,
    policy_changed,
    session_created,
    session_destroyed,
    session_relocated,
)


__all__ = [
    "ConfigError",
    "MemcachedSessionManager",
    "MsmError",
    "MsmSessionInterface",
    "ReadOnlyError",
    "SerializationError",
    "Session",
    "SessionInfo",
    "SessionTooLargeError",
    "SessionUnavailableError",
    "attribute_blacklisted",
    "destroy",
    "mode_changed",
    "node_changed",
    "policy_changed",
    "read_only",
    "regenerate",
    "session_created",
    "session_destroyed",
    "session_relocated",
]
