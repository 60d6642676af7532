"""What stands in front of the sites: HAProxy where it is installed, else a small one."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from .processes import HOST, bound, end, port_of, start
from .small_balancer import SmallBalancer
from .waiting import wait_until


class Balancer(Protocol):
    """Sends each request to a site, and to another one when that one does not answer."""

    port: int

    def sent_again(self) -> int:
        """Return how many requests were sent once more because a connection broke."""

    def close(self) -> None:
        """End it."""


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


#: Debian's folder for it is not in every PATH.
_PATH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin"))

_CONFIG = """\
global
    stats socket {folder}/haproxy.sock mode 600
    nbthread 1
defaults
    mode http
    timeout connect 2s
    timeout client 60s
    timeout server 60s
    timeout check 3s
    # A new connection for each request, so that the workers of a site take turns.
    option http-server-close
    # What a dying worker did not answer is sent again, to another site if need be.
    retries 3
    option redispatch 1
    retry-on conn-failure empty-response
frontend browsers
    bind fd@{descriptor}
    default_backend sites
backend sites
    balance roundrobin
    # A site is up when a worker answers, which needs no node: this path leaves sessions alone.
    option httpchk GET /up
{rules}
"""
_AFFINITY = "    use-server {name} if {{ req.cook({cookie}) -m end .{name} }}"
_SERVER = "    server {name} {host}:{port} check inter 250ms fall 3 rise 1"
#: Columns of ``show stat``: name of the row, retries, requests sent to another server.
_ROW, _RETRIES, _REDISPATCHES = 1, 15, 16


class HAProxy:
    """An HAProxy with a configuration as in production.

    Attributes:
        port: Where browsers find it.
    """

    def __init__(self, binary: str, rule: Rule, folder: Path) -> None:
        self._control = folder / "haproxy.sock"
        with bound() as listener:
            listener.listen(128)
            self.port = port_of(listener)
            lines = []
            if rule.affinity:
                lines += [_AFFINITY.format(name=name, cookie=rule.cookie) for name in rule.sites]
            for name, port in rule.sites.items():
                lines.append(_SERVER.format(name=name, host=HOST, port=port))
            config = folder / "haproxy.cfg"
            config.write_text(
                _CONFIG.format(folder=folder, descriptor=listener.fileno(), rules="\n".join(lines))
            )
            self._process: subprocess.Popen[bytes] = start(
                [binary, "-db", "-f", str(config)],
                folder / "haproxy.log",
                keep_open=[listener.fileno()],
            )
        wait_until(self._answers, "HAProxy to start")

    def sent_again(self) -> int:
        """Return how many requests were sent once more because a connection broke."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self._control))
            connection.sendall(b"show stat sites 2 -1\n")
            with connection.makefile() as stream:
                rows = [line.split(",") for line in stream]
        totals = [row for row in rows if len(row) > _REDISPATCHES and row[_ROW] == "BACKEND"]
        return sum(int(row[_RETRIES]) + int(row[_REDISPATCHES]) for row in totals)

    def close(self) -> None:
        """End it."""
        end(self._process)

    def _answers(self) -> bool:
        # Its socket is there before it listens.
        try:
            return self.sent_again() == 0
        except OSError:
            return False


def haproxy() -> str | None:
    """Return the path of HAProxy, ``None`` without one."""
    return shutil.which("haproxy", path=_PATH)


def balancer(rule: Rule, folder: Path) -> Balancer:
    """Return a balancer that follows *rule*; what it keeps is in *folder*."""
    binary = haproxy()
    if binary is None:
        return SmallBalancer(rule.sites, affinity=rule.affinity)
    return HAProxy(binary, rule, folder)
