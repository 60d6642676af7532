"""``python -m benchmarks.conditions``: what sessions cost in other conditions.

Other sessions (3 kB, 300 kB, 300 attributes), a slow network (each reply is held back for 0.3 ms by
a proxy process), TLS, and a fleet with something to remember: 1,000 ended sessions of others, and
1,000 that this host has to hand over yet. Each row compares flask_msm in two copies and sticky with
Flask-Session on pymemcache as it comes and confirmed, all over the same memcached processes.

Times are medians of what a request takes longer than the same request without sessions; only the
ratios hold for another machine. Waits are counted.
"""

from __future__ import annotations

import argparse
import secrets
import ssl
import sys
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from drill.tls import make_certificate

from .contenders import (
    NONE,
    OURS,
    STICKY,
    THEIRS,
    THEIRS_CONFIRMED,
    Contender,
    NoSessions,
    keep_by_ours,
    keep_by_theirs,
)
from .measure import Group, count_round_trips, measure
from .nodes import MemcachedError, running
from .shapes import ACTS, add_views, application, content_of, visits
from .slow_wire import slow_wire


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

NODES, BYTES, ATTRIBUTES = 3, 450, 6
#: How many sessions of others there are in the rows that have some.
OTHERS = 1_000
#: What the network takes in the row with a slow one, seconds.
DELAY = 0.000_3
TWO = OURS[2]


@dataclass(frozen=True, slots=True)
class Condition:
    """One row.

    Attributes:
        label: In the table.
        content: What is in the session.
        delay: Time in seconds for which each reply is held back.
        tls: Whether the nodes speak TLS.
        prepare: Done to each manager of ours when its nodes are trusted.
    """

    label: str
    content: Mapping[str, str] = field(default_factory=lambda: content_of(ATTRIBUTES, BYTES))
    delay: float | None = None
    tls: bool = False
    prepare: Callable[[Contender], object] = lambda _: None


def end_others(contender: Contender) -> None:
    """Let the worker know of sessions of others that ended."""
    assert contender.manager is not None  # noqa: S101  (it is ours)
    cluster = contender.manager.state(contender.app).parts.cluster
    assert cluster is not None  # noqa: S101  (there are nodes)
    for _ in range(OTHERS):
        cluster.ended_sessions.add(secrets.token_hex(20))
    cluster.monitor.tick()


def keep_others(contender: Contender) -> None:
    """Have this host keep sessions of others, and no tick hand them over."""
    assert contender.manager is not None  # noqa: S101  (it is ours)
    parts = contender.manager.state(contender.app).parts
    assert parts.cluster is not None  # noqa: S101  (there are nodes)
    parts.cluster.runtime.scheduler.stop()
    shelf = parts.local.shelf
    assert shelf is not None  # noqa: S101  (the folder was just made)
    for _ in range(OTHERS):
        shelf.journal.add(secrets.token_hex(20))


CONDITIONS = (
    Condition("450 bytes"),
    Condition("3 kB", content_of(ATTRIBUTES, 3_000)),
    Condition("300 kB", content_of(ATTRIBUTES, 300_000)),
    Condition("300 attributes", content_of(300, 3_000)),
    Condition("1,000 ended sessions", prepare=end_others),
    Condition("1,000 kept on this host", prepare=keep_others),
    Condition("TLS", tls=True),
    Condition("through the proxy", delay=0.0),
    Condition("0.3 ms to each node", delay=DELAY),
)


def main() -> int:
    """Measure, print, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.conditions")
    parser.add_argument("--requests", type=int, default=300, metavar="N", help="of each kind")
    parser.add_argument("--only", default="", metavar="TEXT", help="rows whose label has it")
    arguments = parser.parse_args()
    columns = ("Flask-Session", "confirmed", "two copies", "sticky")
    print("Added to a request, microseconds; in brackets the ratios to Flask-Session and to")
    print("Flask-Session confirmed, and how often a request waits for replies\n")
    print(" " * 31 + "".join(f"{column:>24}" + "   " for column in columns))
    try:
        for condition in CONDITIONS:
            if arguments.only in condition.label:
                for line in _measured(condition, arguments.requests):
                    print(line, flush=True)
    except MemcachedError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _measured(condition: Condition, requests: int) -> Iterator[str]:
    """Measure a row; yield its lines."""
    with ExitStack() as closing:
        certificate = Path(closing.enter_context(TemporaryDirectory())) / "node.pem"
        tls: dict[str, Any] = {}
        if condition.tls:
            make_certificate(certificate)
            tls = {"tls": ssl.create_default_context(cafile=str(certificate))}
        nodes = closing.enter_context(running(NODES, certificate if condition.tls else None))
        ports = [int(node.address[1]) for node in nodes]
        if condition.delay is not None:
            wires = [slow_wire(port, condition.delay) for port in ports]
            ports = [closing.enter_context(wire) for wire in wires]
        contenders = _contenders(condition, ports, closing, **tls)
        # A worker begins with its first request.
        groups = [_group(act, contenders) for act in ACTS]
        for one in contenders:
            one.wait_ready()
        for one in contenders:
            if one.manager is not None:
                condition.prepare(one)
        measure(groups, requests)
        for group in groups:
            waits = count_round_trips(group)
            added = {name: median(group.added(name, NONE)) for name in group.requests}
            cells = (
                f"{added[name]:7.0f} ({added[name] / added[THEIRS]:5.2f}"
                f" {added[name] / added[THEIRS_CONFIRMED]:5.2f} {waits[name]:2})"
                for name in (THEIRS, THEIRS_CONFIRMED, TWO, STICKY)
            )
            yield f"{condition.label:24}{group.name:7}" + "   ".join(cells)


def _contenders(
    condition: Condition,
    ports: Sequence[int],
    closing: ExitStack,
    tls: ssl.SSLContext | None = None,
) -> list[Contender]:
    none = application(NONE)
    none.session_interface = NoSessions()
    found = [Contender(NONE, ("", ""), none)]
    for name in (THEIRS, THEIRS_CONFIRMED):
        app = application(name)
        keep_by_theirs(app, ports, closing, confirmed=name == THEIRS_CONFIRMED, tls=tls)
        found.append(Contender(name, ("", ""), app))
    for name in (TWO, STICKY):
        app = application(name)
        config = {"MSM_TLS_CONTEXT": tls} if tls else {}
        manager = keep_by_ours(
            app,
            ports,
            closing,
            MSM_STICKY=name == STICKY,
            MSM_MAX_RECORD_SIZE=900_000,
            MSM_KEY_PREFIX=f"{name}:",
            **config,
        )
        found.append(Contender(name, ("", ""), app, manager))
    for one in found:
        add_views(one.app, condition.content)
    return found


def _group(act: str, contenders: Sequence[Contender]) -> Group:
    return Group(
        act,
        {one.name: visits(one.app, act) for one in contenders},
        {one.name: one.settle for one in contenders if one.manager is not None},
    )


if __name__ == "__main__":
    sys.exit(main())
