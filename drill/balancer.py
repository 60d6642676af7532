"""What stands in front of the sites: HAProxy where it is installed, else a small one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.haproxy import HAProxy, haproxy
from harness.processes import HOST

from .small_balancer import SmallBalancer


#: Sends each request to a site, and to another one when that one does not answer.
Balancer = HAProxy | SmallBalancer

_DEFAULTS = """\
    timeout connect 2s
    timeout client 60s
    timeout server 60s
    # A site on a busy machine is late, not gone: one that is gone refuses at once.
    timeout check 15s
    # A new connection for each request, so that the workers of a site take turns.
    option http-server-close
    # What a dying worker did not answer is sent again, to another site if need be.
    retries 3
    option redispatch 1
    retry-on conn-failure empty-response"""
_BACKEND = """\
backend sites
    balance roundrobin
    # A site is up when a worker answers, which needs no node: this path leaves sessions alone.
    option httpchk GET /up
{rules}"""
_AFFINITY = "    use-server {name} if {{ req.cook({cookie}) -m end .{name} }}"
_SERVER = "    server {name} {host}:{port} check inter 250ms fall 3 rise 1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Where requests go.

    Attributes:
        sites: Port by name of each site that is used.
        affinity: A browser goes to the site whose name is at the end of its cookie; else in turn.
        cookie: Name of the cookie.
    """

    sites: Mapping[str, int]
    affinity: bool
    cookie: str = "session"


def balancer(rule: Rule, folder: Path) -> Balancer:
    """Return a balancer that follows *rule*; what it keeps is in *folder*."""
    if haproxy() is None:
        return SmallBalancer(rule.sites, affinity=rule.affinity)
    lines = [_AFFINITY.format(name=name, cookie=rule.cookie) for name in rule.sites]
    lines = lines if rule.affinity else []
    for name, port in rule.sites.items():
        lines.append(_SERVER.format(name=name, host=HOST, port=port))
    backend = _BACKEND.format(rules="\n".join(lines))
    return HAProxy(folder, defaults=_DEFAULTS, backend=backend)
