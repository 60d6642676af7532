"""What the parts of an application are made from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from .record.encryption import Encryption, encryption_of
from .record.keys import Keyring, keyring


if TYPE_CHECKING:
    from flask_msm.cluster.events import Event
    from flask_msm.process.clock import Clock
    from flask_msm.record.codec.msgpack import Codec
    from flask_msm.sessions.repository import Notify
    from flask_msm.settings.settings import NodeAddress, Settings

    from .policies import Failure, Policy
    from .record.keys import Secrets


MakeNode = Callable[["NodeAddress"], Any]


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What an application and its user bring.

    Attributes:
        settings: The application's settings.
        name: The application's name.
        codec: Encodes attributes.
        clock: Tells the time.
        secrets: Returns the application's secrets, the current one first.
        notify: Told of sessions created, destroyed and relocated.
        listener: Told of events.
        raise_unexpected: Whether to raise unexpected errors of a store (tests).
        scheduler: A scheduler of the application, or ``None``.
        make_node: Makes the client of a node.
        policy: The application's own policy for attributes that cannot be stored, or ``None``.
        blacklisted: Told of attributes that are stored as ``None`` from now on.
        root: Folder of the application: those of one name keep their local storage apart.
    """

    settings: Settings
    name: str
    codec: Codec
    clock: Clock
    secrets: Callable[[], Secrets]
    notify: Notify
    listener: Callable[[Event], object]
    raise_unexpected: Callable[[], bool]
    scheduler: Any
    make_node: MakeNode
    root: str
    policy: Policy | None
    blacklisted: Callable[[Failure], object]

    @cached_property
    def encryption(self) -> Encryption | None:
        """What encrypts records, ``None`` without ``MSM_ENCRYPTION_KEYS``.

        Raises:
            ConfigError: cryptography is not installed.
        """
        return encryption_of(self.settings.encryption_keys)

    def keys(self) -> Keyring:
        """Return the keyring of the secrets as they are now."""
        return keyring(self.secrets())
