"""Who is told when the verdict on the fleet changes: ``MSM_ON_ALERT``."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from .types import InvalidValueError, Kind


AlertTarget = Callable[..., Any] | str


def _target(value: object) -> AlertTarget:
    if callable(value):
        return value
    if not isinstance(value, str) or not value.isprintable() or " " in value.strip():
        raise InvalidValueError
    address = value.strip()
    try:
        parts = urlsplit(address)
        host, _ = parts.hostname, parts.port
        # What cannot be sent would be found out by the first alert only.
        (host or "").encode("idna")
        f"{parts.path}{parts.query}".encode("ascii")
    except ValueError:
        raise InvalidValueError from None
    if not host or parts.username is not None or parts.fragment:
        raise InvalidValueError
    if parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(host)):
        return address
    raise InvalidValueError


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


ALERT_TARGET = Kind(
    "a callable, or an address that begins with https:// (http:// to this machine) and has no"
    " password in it, and only ASCII behind the host",
    _target,
)
