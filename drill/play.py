"""Plays one act and reports how it went."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from .clients import Clients
from .scene import Scene
from .stage import REQUEST_DEADLINE, Stage
from .visitor import PAUSE
from .wrong_clock import AN_HOUR_AHEAD


if TYPE_CHECKING:
    from collections.abc import Sequence

    from .acts import Act
    from .observations import Observations

#: What it is called while nothing is the matter yet.
BEFORE = "before"
#: Seconds a request may take in a worker: the deadline and a fifth of a second.
SLOWEST = REQUEST_DEADLINE + 0.2
#: Seconds in which a change of a sticky session is on the nodes, on a machine that is busy.
STICKY_LAG = 10.0
#: Seconds it may take once the worker keeps sessions on its host.
SLOWEST_LOCAL = 0.05


class Times(NamedTuple):
    """Half of them, 99 of 100 of them, and all of them took at most so many seconds."""

    p50: float
    p99: float
    slowest: float

    @classmethod
    def of(cls, times: Sequence[float]) -> Times:
        """Return those of *times*, of which there is at least one."""
        ordered = sorted(times)
        return cls(ordered[len(ordered) // 2], ordered[len(ordered) * 99 // 100], ordered[-1])


class Played(NamedTuple):
    """How an act went.

    Attributes:
        act: Its name.
        title: What happened.
        remark: How it was played, where that differs from machine to machine.
        requests: Requests that were answered.
        errors: Answers with 5xx, connections that broke without a reason, faults of workers.
        sent_again: Requests that were sent again because a process was killed.
        lost: Acknowledged changes that were not there when they had to be.
        unseen: Acknowledged changes that could not be seen before the nodes returned.
        late: Changes that a parallel tab saw late.
        signed_out: Sessions that were gone, or whose cookie was replaced.
        logouts: Logouts that were acknowledged.
        undone: Times a session was served after its logout.
        undone_elsewhere: The same on another host, before the nodes returned.
        worker: Times in the worker, but for waiting for a processor.
        client: Times at the browser.
        slowest_local: The slowest request of a worker that kept sessions on its host, in seconds;
            ``None`` when there was none.
        recovery: Seconds from the end of the fault until all was well again.
        fast: Share of the reads and changes before the fault that took the fast path, from 0 to 1;
            ``None`` where that is not known.
        phases: Times in the worker by what was the matter at the time.
        complaints: What went wrong, in words.
    """

    act: str
    title: str
    remark: str
    requests: int
    errors: int
    sent_again: int
    lost: int
    unseen: int
    late: int
    signed_out: int
    logouts: int
    undone: int
    undone_elsewhere: int
    worker: Times
    client: Times
    slowest_local: float | None
    recovery: float
    fast: float | None
    phases: dict[str, Times]
    complaints: list[str]

    @property
    def is_well(self) -> bool:
        """Whether nothing was lost, nothing failed, and no request waited too long."""
        return not self.complaints

    def as_json(self) -> dict[str, Any]:
        """Return everything as data."""
        return {
            **self._asdict(),
            "worker": self.worker._asdict(),
            "client": self.client._asdict(),
            "phases": {phase: times._asdict() for phase, times in self.phases.items()},
            "is_well": self.is_well,
        }


@contextmanager
def stage_of(
    act: Act, *, tls: bool = False, encrypted: bool = False, fast_path: bool = True
) -> Iterator[Stage]:
    """Give the stage that an act needs, for it and for others that need the same.

    Args:
        act: The act.
        tls: The nodes speak TLS.
        encrypted: Records are encrypted.
        fast_path: Requests may take the fast path; an earlier version has none.
    """
    way: dict[str, object] = {} if fast_path or act.earlier else {"MSM_FAST_PATH": False}
    options: dict[str, Any] = {
        "one_site": act.one_site,
        "affinity": act.affinity,
        "small_disk": act.small_disk,
        "workers": act.workers,
        "memcached": act.memcached,
        "environ": AN_HOUR_AHEAD if act.wrong_clock else None,
        "nodes": act.nodes,
        "earlier": act.earlier,
        "tls": tls,
        "encrypted": encrypted,
    }
    with (
        tempfile.TemporaryDirectory(prefix="flask_msm-") as folder,
        Stage(Path(folder), {**act.settings, **way}, **options) as stage,
    ):
        yield stage


def play(
    name: str,
    act: Act,
    stage: Stage,
    *,
    seconds: float,
    visitors: int,
    judge_times: bool = True,
    pause: tuple[float, float] = PAUSE,
) -> Played:
    """Play an act.

    Args:
        name: Its name.
        act: The act.
        stage: What it is played on; all is well there.
        seconds: Time in seconds a fault lasts.
        visitors: Number of browsers that click.
        judge_times: Whether a slow request is a complaint; on a machine that does other work beside
            its times have no meaning.
        pause: Seconds between two clicks of a browser, at least and at most.
    """
    sites = {site.name: site.port for site in stage.sites.values()}
    sent_before, troubles_before = stage.balancer.sent_again(), len(stage.troubles())
    with Clients(stage.balancer.port, sites, visitors=visitors, pause=pause) as clients:
        across = not act.affinity and not act.one_site
        scene = Scene(stage, clients, seconds, across=across)
        scene.lasts(BEFORE)
        act.play(scene)
    # Sticky sessions are written to the nodes within a tenth of a second.
    lag = STICKY_LAG if act.settings.get("MSM_STICKY") else 0.0
    clients.look_back([*sites.values(), stage.fresh.port], lag=lag)
    sent_again = stage.balancer.sent_again() - sent_before + len(clients.seen.broken)
    troubles = [f"failed: {line}" for line in stage.troubles()[troubles_before:]]
    return _played(
        name,
        act.title,
        scene,
        clients.seen,
        sent_again=sent_again,
        troubles=troubles,
        judge_times=judge_times,
    )


def _played(
    name: str,
    title: str,
    scene: Scene,
    seen: Observations,
    *,
    sent_again: int,
    troubles: list[str],
    judge_times: bool,
) -> Played:
    worker = Times.of([click.spent for click in seen.clicks])
    local = [click.spent for click in seen.clicks if click.was_local]
    slowest_local = max(local, default=None)
    slow = []
    if worker.slowest > SLOWEST:
        slow.append(f"slow: {worker.slowest:.3f} s in the worker, allowed are {SLOWEST} s")
    if slowest_local is not None and slowest_local > SLOWEST_LOCAL:
        slow.append(f"slow: {slowest_local:.3f} s in a local worker, allowed {SLOWEST_LOCAL} s")
    return Played(
        act=name,
        title=title,
        remark=scene.remark,
        requests=len(seen.clicks),
        errors=len(seen.failed) + len(troubles),
        sent_again=sent_again,
        lost=len(seen.lost),
        unseen=len(seen.unseen),
        late=len(seen.late),
        signed_out=len(seen.signed_out),
        logouts=seen.logouts,
        undone=len(seen.undone),
        undone_elsewhere=len(seen.undone_elsewhere),
        worker=worker,
        client=Times.of([click.waited for click in seen.clicks]),
        slowest_local=slowest_local,
        recovery=scene.recovery,
        fast=seen.fast_share(BEFORE),
        phases={
            phase: Times.of([click.spent for click in seen.clicks if click.phase == phase])
            for phase in dict.fromkeys(click.phase for click in seen.clicks)
        },
        complaints=[*seen.complaints(), *troubles, *(slow if judge_times else ())],
    )
