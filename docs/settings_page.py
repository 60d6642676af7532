"""The list of all settings, made from the settings themselves: ``python docs/settings_page.py``."""

from __future__ import annotations

import sys
from dataclasses import fields

from flask_msm.settings.settings import SettingDoc, Settings, setting_docs


#: The order of the page; a setting that is named nowhere is an error.
GROUPS = {
    "Nodes and copies": "ENABLED ENVIRONMENT NODES FAILOVER_NODES REPLICAS KEY_PREFIX BACKUP_ASYNC"
    " TLS_CONTEXT AUTH",
    "Time-outs and probes": "CONNECT_TIMEOUT TIMEOUT REQUEST_DEADLINE RETRY_ATTEMPTS RETRY_DELAY"
    " POOL_SIZE FAILURE_THRESHOLD RECOVERY_THRESHOLD PROBE_INTERVAL PROBE_MAX_BACKOFF FAST_PATH"
    " RECORD_CACHE_BYTES",
    "Sessions and their lives": "IDLE_TIMEOUT ABSOLUTE_TIMEOUT REGENERATE_GRACE IGNORE_PATTERN"
    " ON_UNKNOWN MAX_RECORD_SIZE COMPRESS_ABOVE",
    "Sticky sessions": "STICKY ROUTE NEAR_MAX_AGE",
    "Local storage and outages": "LOCAL_CACHE LOCAL_DIR LOCAL_MAX_SESSIONS LOCAL_MAX_BYTES MIRROR"
    " ON_RECONNECT",
    "Attributes that cannot be stored": "SERIALIZATION_POLICY STRICT_TYPES BLACKLIST"
    " ATTRIBUTE_FILTER",
    "Dashboard and alerts": "ADMIN ADMIN_URL ADMIN_ACCESS ADMIN_TRUSTED_ORIGINS"
    " ADMIN_HEALTH_PUBLIC ADMIN_HIDE_ADDRESSES ADMIN_HIDE_ERRORS LOST_SESSIONS_LIMIT ON_ALERT"
    " ALERT_SECRET",
    "Encryption": "ENCRYPTION_KEYS",
}
_BYTES = {"RECORD_CACHE_BYTES", "LOCAL_MAX_BYTES", "MAX_RECORD_SIZE", "COMPRESS_ABOVE"}
_TYPES = {
    "tuple[NodeAddress, ...]": "text or list",
    "tuple[str, ...]": "text or list",
    "EncryptionKeys": "text or list",
    "re.Pattern[str]": "regular expression",
    "AlertTarget": "callable or text",
    "Path": "path",
    "tuple[str, str]": "text or pair",
    "Callable[..., Any] | str": "callable or text",
    'Literal["filesystem", "simple"] | CacheLike': "text or cache",
    "ssl.SSLContext": "`ssl.SSLContext`",
    "str": "text",
    "float": "seconds: a number or a `timedelta`",
    "int": "whole number",
    "bool": "boolean",
}


def page() -> str:
    """Return the list, in groups."""
    docs = {doc.key.removeprefix("MSM_"): doc for doc in setting_docs()}
    types = {item.name.upper(): str(item.type) for item in fields(Settings)}
    parts = []
    for title, names in GROUPS.items():
        parts.append(f"## {title}\n")
        parts += [_entry(docs.pop(name), types[name]) for name in names.split()]
    if docs:
        raise ValueError(f"in no group: {', '.join(docs)}")
    return "\n".join(parts)


def _entry(doc: SettingDoc, annotation: str) -> str:
    name = doc.key.removeprefix("MSM_")
    kind = annotation.removesuffix(" | None")
    unit = "seconds" if kind == "float" else "bytes" if name in _BYTES else ""
    facts = [
        ("Type", _TYPES.get(kind, "text")),
        ("Default", f"`{doc.default}`"),
        ("Allowed", doc.allowed),
    ]
    if unit:
        facts.insert(1, ("Unit", unit))
    lines = "\n".join(f"- {title}: {text}" for title, text in facts)
    return f"### {doc.key}\n\n{doc.help}\n\n{lines}\n"


if __name__ == "__main__":
    sys.stdout.write(page())
