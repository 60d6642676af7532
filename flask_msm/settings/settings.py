# Every setting() is a dataclass field.
# ruff: noqa: RUF009
"""Every setting of the package: what it means, what it may be, and its default.

Nothing else reads ``MSM_*`` keys, and no default stands anywhere else. The documentation is made
from :func:`setting_docs`.
"""

from __future__ import annotations

import logging
import re
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from flask_msm.errors import ConfigError
from flask_msm.record.keys import EncryptionKeys

from .alert_target import ALERT_TARGET, AlertTarget
from .encryption_keys import ENCRYPTION_KEYS
from .loader import PREFIX, is_secret, read, setting
from .node_address import ID_PATTERN, NODES_ALLOWED, NodeAddress, parse_nodes
from .types import (
    BOOLEAN,
    CACHE,
    CREDENTIALS,
    DIRECTORY,
    FUNCTION,
    REGEX,
    TLS_CONTEXT,
    CacheLike,
    Kind,
    choice,
    optional,
    safe_name,
    seconds,
    text,
    texts,
    whole,
)


__all__ = [
    "CacheLike",
    "EncryptionKeys",
    "NodeAddress",
    "OnReconnect",
    "OnUnknown",
    "PolicyName",
    "SettingDoc",
    "Settings",
    "setting_docs",
]

PolicyName = Literal["raise", "local", "stop", "blacklist"]
OnReconnect = Literal["promote", "discard"]
OnUnknown = Literal["detached", "error"]

_log = logging.getLogger("flask_msm")

_MIB = 1024 * 1024
_MINUTE = 60
_HOUR = 3600
_DAY = 24 * _HOUR
_TEN_YEARS = 3650 * _DAY
#: memcached takes 250 bytes, the hash of a session's id and what the fleet adds need the rest.
_LONGEST_PREFIX = 150


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings of one application, checked and typed.

    Every field is the ``MSM_*`` key of that name in lower case. Durations are floats in seconds,
    sizes whole bytes. A field that its ``repr`` leaves out is a secret. What a field means and
    what it may be is in its metadata (``help``, ``allowed``); see :func:`setting_docs`.

    ``from_mapping`` checks values, the constructor does not: it is for tests.
    """

    enabled: bool = setting(
        default=True, kind=BOOLEAN, meaning="Whether sessions are kept by this extension at all."
    )
    environment: str | None = setting(
        default=None,
        kind=optional(text(r"[^\x00-\x1f\x7f-\x9f]{1,64}", "one line of at most 64 characters")),
        meaning="Name of the environment, shown on every page of the dashboard.",
    )
    nodes: tuple[NodeAddress, ...] = setting(
        default=(),
        kind=Kind(NODES_ALLOWED, parse_nodes),
        meaning="The memcached nodes. Where sessions go depends on the ids, not on the order. A"
        " node without an id is called after its address, one without a port has 11211. Without"
        " nodes, sessions stay in local storage.",
        shown="None",
    )
    failover_nodes: tuple[str, ...] = setting(
        default=(),
        kind=texts(
            ID_PATTERN,
            "ids of some, not all, of MSM_NODES, each once, separated by blanks or commas, or a"
            " list",
        ),
        meaning="Ids of nodes that are used only when others fail. May differ between hosts only"
        " with MSM_STICKY.",
        shown="None",
    )
    replicas: int = setting(
        default=2,
        kind=whole(at_least=1),
        meaning="Copies of each session, on as many nodes. With fewer nodes than this: one copy on"
        " each, and a warning in the log.",
    )
    key_prefix: str = setting(
        default="msm:app:",
        kind=text(
            rf"[!-~]{{1,{_LONGEST_PREFIX}}}",
            f"printable ASCII without blanks, at most {_LONGEST_PREFIX} characters",
        ),
        meaning="Start of every key in memcached. Applications with the same one share sessions.",
        shown="'msm:<app name>:'",
    )
    connect_timeout: float = setting(
        default=0.25,
        kind=seconds(at_most=_MINUTE),
        meaning="Time in seconds to connect to a node. More than MSM_REQUEST_DEADLINE is"
        " allowed, and helps probes only.",
    )
    timeout: float = setting(
        default=0.25,
        kind=seconds(at_most=_MINUTE),
        meaning="Time in seconds for one operation of a node. More than MSM_REQUEST_DEADLINE is"
        " allowed, and helps probes only. With more than MSM_PROBE_INTERVAL workers look silent"
        " while a node hangs.",
    )
    request_deadline: float = setting(
        default=1.0,
        kind=seconds(at_most=_MINUTE),
        meaning="Most time in seconds that one request spends on memcached, everything included.",
    )
    retry_attempts: int = setting(
        default=1,
        kind=whole(at_least=0),
        meaning="How often an operation that timed out is tried again, within the deadline.",
    )
    retry_delay: float = setting(
        default=0.02,
        kind=seconds(zero=True, at_most=_MINUTE),
        meaning="Time in seconds before it is tried again.",
    )
    pool_size: int = setting(
        default=8, kind=whole(at_least=1), meaning="Connections to each node, per worker process."
    )
    failure_threshold: int = setting(
        default=3,
        kind=whole(at_least=1),
        meaning="Time-outs in a row that take a node down; a refused connection does at once.",
    )
    recovery_threshold: int = setting(
        default=2, kind=whole(at_least=1), meaning="Good probes in a row that bring a node back."
    )
    probe_interval: float = setting(
        default=2.0,
        kind=seconds(zero=True, at_most=_HOUR),
        meaning="Time in seconds between two probes of the nodes. 0: no background thread, no"
        " probes and no rebuild.",
        shown="2.0 (0 when TESTING)",
    )
    probe_max_backoff: float = setting(
        default=10.0,
        kind=seconds(at_most=_DAY),
        meaning="Longest time in seconds between two probes of a node that is down; at least"
        " MSM_PROBE_INTERVAL. While no node is left, all are probed at every interval.",
        shown="10.0, or MSM_PROBE_INTERVAL if that is more",
    )
    fast_path: bool = setting(
        default=True,
        kind=BOOLEAN,
        meaning="Whether a request for which all is well takes a short way, with the same outcome:"
        " to the nodes, or with MSM_STICKY to the memory of the worker and a journal of the host."
        " False: every request takes the way that also knows failures.",
    )
    record_cache_bytes: int = setting(
        default=16 * 1024 * 1024,
        kind=whole(at_least=0),
        meaning="Most bytes of memory in each process, about, for records that were verified"
        " already, and for sticky sessions; 0 for none.",
    )
    backup_async: bool = setting(
        default=False,
        kind=BOOLEAN,
        meaning="Whether the second and further copies are written behind the response: faster, and"
        " a change can be lost with its node.",
    )
    regenerate_grace: float = setting(
        default=10.0,
        kind=seconds(zero=True, at_most=_HOUR),
        meaning="Time in seconds in which requests with the cookie from before a regenerate() still"
        " see the session.",
    )
    ignore_pattern: re.Pattern[str] | None = setting(
        default=None,
        kind=optional(REGEX),
        meaning="Requests whose path has a match (re.search) never write the session.",
    )
    tls_context: ssl.SSLContext | None = setting(
        default=None, kind=optional(TLS_CONTEXT), meaning="TLS for connections to nodes."
    )
    auth: tuple[str, str] | None = setting(
        default=None,
        kind=optional(CREDENTIALS),
        meaning="User and password of memcached (ASCII).",
        secret=True,
    )
    sticky: bool = setting(
        default=False,
        kind=BOOLEAN,
        meaning="Whether the load balancer sends a browser back to the same host, so that the copy"
        " there is read first.",
    )
    route: str | None = setting(
        default=None,
        kind=optional(text(ID_PATTERN, "at most 32 letters, digits, _ and -")),
        meaning="Name of this host for the load balancer, put at the end of the cookie.",
    )
    near_max_age: float = setting(
        default=5.0,
        kind=seconds(zero=True, at_most=_DAY),
        meaning="With MSM_STICKY: time in seconds for which the copy on this host is used without"
        " asking memcached. 0: always ask.",
    )
    local_cache: Literal["filesystem", "simple"] | CacheLike = setting(
        default="filesystem",
        kind=CACHE,
        meaning="Local storage: 'filesystem' is shared by the workers of a host, 'simple' belongs"
        " to one process.",
    )
    local_dir: Path | None = setting(
        default=None,
        kind=optional(DIRECTORY),
        meaning="Folder of 'filesystem' and of the journal. None: chosen in the runtime directory,"
        " /dev/shm or the temporary directory.",
    )
    local_max_sessions: int = setting(
        default=50_000, kind=whole(at_least=1), meaning="Most sessions in local storage."
    )
    local_max_bytes: int | None = setting(
        default=None,
        kind=optional(whole(at_least=1024)),
        meaning="Most bytes in local storage; at least MSM_MAX_RECORD_SIZE. None: a quarter of the"
        " free space, at most 256 MB.",
    )
    mirror: bool = setting(
        default=True,
        kind=BOOLEAN,
        meaning="Whether recent sessions are copied to local storage while all is well.",
    )
    on_reconnect: OnReconnect = setting(
        default="promote",
        kind=choice(get_args(OnReconnect)),
        meaning="What happens to changes in local storage when the cluster returns: joined into it,"
        " or dropped.",
    )
    on_unknown: OnUnknown = setting(
        default="detached",
        kind=choice(get_args(OnUnknown)),
        meaning="When it is not known whether a session exists: an empty one for this request, or"
        " status 503.",
    )
    serialization_policy: PolicyName = setting(
        default="raise",
        kind=choice(get_args(PolicyName)),
        meaning="What happens when an attribute cannot be serialized.",
    )
    strict_types: bool = setting(
        default=False,
        kind=BOOLEAN,
        meaning="Whether what would come back as another type is refused: subclasses, dataclasses,"
        " what has __html__, names that are no str.",
    )
    blacklist: tuple[str, ...] = setting(
        default=(),
        kind=texts(r"(?s:.+)", "names, each once, separated by commas, or a list", separator=","),
        meaning="Names of attributes that are always stored as None, without trying.",
    )
    attribute_filter: re.Pattern[str] | None = setting(
        default=None,
        kind=optional(REGEX),
        meaning="Attributes whose names have no match (re.search) are not stored; they stay in the"
        " memory of the process.",
    )
    max_record_size: int = setting(
        default=1_000_000,
        kind=whole(at_least=1024, at_most=128 * _MIB),
        meaning="Largest session in bytes, as stored; below memcached's own limit (option -I).",
    )
    compress_above: int = setting(
        default=4096,
        kind=whole(at_least=0),
        meaning="Sessions of more bytes than this are compressed. 0: none; 1: all.",
    )
    idle_timeout: float | None = setting(
        default=None,
        kind=optional(seconds(at_most=_TEN_YEARS)),
        meaning="Time in seconds that a session lives after it was last used. None:"
        " PERMANENT_SESSION_LIFETIME.",
    )
    absolute_timeout: float | None = setting(
        default=None,
        kind=optional(seconds(at_most=_TEN_YEARS)),
        meaning="Time in seconds after which a session ends although it is used; at least"
        " MSM_IDLE_TIMEOUT. None: never.",
    )
    lost_sessions_limit: int = setting(
        default=10,
        kind=whole(at_least=1),
        meaning="From so many sessions lost in 15 minutes on, if they are at least 2 % of those"
        " that were asked for, the dashboard is red and 'flask msm status' fails.",
    )
    admin: bool = setting(
        default=True, kind=BOOLEAN, meaning="Whether there is a dashboard at all."
    )
    admin_url: str = setting(
        default="/msm-admin",
        kind=text(
            r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+",
            "a path that begins, and does not end, with / (letters, digits, _ . ~ -)",
        ),
        meaning="Where the dashboard is.",
    )
    admin_access: Callable[..., Any] | str | None = setting(
        default=None,
        kind=optional(FUNCTION),
        meaning="Asked with each request for what its sender may do in the dashboard: None, 'read'"
        " or 'write'. None: closed to all.",
    )
    admin_trusted_origins: tuple[str, ...] = setting(
        default=(),
        kind=texts(
            r"https?://([a-z0-9_.-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?",
            "origins as browsers send them (lower-case scheme://host[:port], no path), each"
            " once, separated by blanks or commas, or a list",
        ),
        meaning="Origins that may send changes to the dashboard besides its own, for proxies that"
        " do not pass the host on.",
    )
    admin_health_public: bool = setting(
        default=False,
        kind=BOOLEAN,
        meaning="Whether the health page is shown without MSM_ADMIN_ACCESS.",
    )
    admin_hide_addresses: bool = setting(
        default=False, kind=BOOLEAN, meaning="Whether the dashboard shows ids of nodes only."
    )
    admin_hide_errors: bool = setting(
        default=False,
        kind=BOOLEAN,
        meaning="Whether the dashboard leaves out the texts of errors.",
    )
    on_alert: AlertTarget | None = setting(
        default=None,
        kind=optional(ALERT_TARGET),
        meaning="Told of each change of the verdict on the fleet, once for the fleet: called with a"
        " dict, or sent it by POST as JSON, which needs MSM_ALERT_SECRET.",
        secret=True,
    )
    alert_secret: str | None = setting(
        default=None,
        kind=optional(text(r"[!-~]{16,256}", "16 to 256 printable ASCII characters, no blanks")),
        meaning="Signs what is sent to MSM_ON_ALERT: HMAC-SHA256 of the body, hexadecimal, in"
        " X-Msm-Signature.",
        secret=True,
    )
    encryption_keys: EncryptionKeys | None = setting(
        default=None,
        kind=optional(ENCRYPTION_KEYS),
        meaning="Keys that encrypt what is stored, with the extra 'encryption'; the first encrypts,"
        " all decrypt.",
        secret=True,
    )

    @classmethod
    def from_mapping(
        cls, config: Mapping[str, Any], *, app_name: str, testing: bool = False
    ) -> Settings:
        """Read the ``MSM_*`` keys of *config*; other keys are not looked at.

        A key that is missing, ``None`` or blank text has its default. The word ``none`` does the
        same where ``None`` or an empty list is the default, and is refused elsewhere.

        Args:
            config: For example ``app.config``; it is not changed.
            app_name: Name of the application, part of the default ``MSM_KEY_PREFIX``.
            testing: Whether nothing is to outlive a test: unless they are set,
                ``MSM_PROBE_INTERVAL`` is 0 and ``MSM_MIRROR`` is off (no thread), and
                ``MSM_LOCAL_CACHE`` is ``simple`` (no folder).

        Raises:
            ConfigError: A key is unknown, or its value not allowed. Secrets are not shown.
        """
        values: dict[str, Any] = {"key_prefix": _key_prefix(app_name)}
        if testing:
            values["probe_interval"] = 0.0
            values["local_cache"] = "simple"
            values["mirror"] = False
        values |= read(config, _BY_KEY)
        settings = cls(**values)
        if "probe_max_backoff" not in values:
            backoff = max(settings.probe_max_backoff, settings.probe_interval)
            settings = replace(settings, probe_max_backoff=backoff)
        _check_failover(settings)
        _check_limits(settings)
        if isinstance(settings.on_alert, str) and not settings.alert_secret:
            allowed = "a secret, for MSM_ON_ALERT is an address"
            raise ConfigError("MSM_ALERT_SECRET", None, allowed)
        return _with_possible_replicas(settings)


class SettingDoc(NamedTuple):
    """One line of the table of settings.

    Attributes:
        key: Name of the key, for example ``MSM_REPLICAS``.
        default: Its default, in words where it is not a constant.
        allowed: What it may be, in words.
        help: What it means, with its unit.
        secret: Whether its value is never shown.
    """

    key: str
    default: str
    allowed: str
    help: str
    secret: bool


def setting_docs() -> tuple[SettingDoc, ...]:
    """Return the description of every setting, in the order of the fields."""
    return tuple(
        SettingDoc(
            key=key,
            default=item.metadata["default"],
            allowed=item.metadata["allowed"],
            help=item.metadata["help"],
            secret=is_secret(item),
        )
        for key, item in _BY_KEY.items()
    )


_BY_KEY = {f"{PREFIX}{item.name.upper()}": item for item in fields(Settings)}


def _key_prefix(app_name: str) -> str:
    return f"msm:{safe_name(app_name, '[^!-~]', _LONGEST_PREFIX - len('msm::'))}:"


def _check_failover(settings: Settings) -> None:
    ids = {node.id for node in settings.nodes}
    failover = set(settings.failover_nodes)
    if failover and not failover < ids:
        known = ", ".join(sorted(ids)) or "none, for MSM_NODES is not set"
        raise _refused(settings, "failover_nodes", f"some, not all, of the nodes ({known})")


def _check_limits(settings: Settings) -> None:
    most, record = settings.local_max_bytes, settings.max_record_size
    if most is not None and most < record:
        allowed = f"at least MSM_MAX_RECORD_SIZE ({record} bytes), for one session must fit"
        raise _refused(settings, "local_max_bytes", allowed)
    absolute, idle = settings.absolute_timeout, settings.idle_timeout
    if absolute is not None and idle is not None and absolute < idle:
        allowed = f"at least MSM_IDLE_TIMEOUT ({idle} seconds), or None"
        raise _refused(settings, "absolute_timeout", allowed)
    if settings.probe_max_backoff < settings.probe_interval:
        allowed = f"at least MSM_PROBE_INTERVAL ({settings.probe_interval} seconds)"
        raise _refused(settings, "probe_max_backoff", allowed)


def _refused(settings: Settings, name: str, allowed: str) -> ConfigError:
    return ConfigError(f"{PREFIX}{name.upper()}", getattr(settings, name), allowed)


def _with_possible_replicas(settings: Settings) -> Settings:
    count = len(settings.nodes)
    if not count or settings.replicas <= count:
        return settings
    _log.warning(
        "MSM_REPLICAS is %d, but the number of MSM_NODES is %d: each session has %s",
        settings.replicas,
        count,
        "one copy" if count == 1 else f"{count} copies",
    )
    return replace(settings, replicas=count)
