"""Plays one act and says how it went."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from acts import ACTS, Scene
from ghosts import Ghosts
from stage import SITES, Balancer, Crowd, Stage


#: Seconds a request may take in a worker: the deadline and a fifth of a second.
REQUEST_DEADLINE = 1.0
SLOWEST, SLOWEST_LOCAL = REQUEST_DEADLINE + 0.2, 0.05


class Played(NamedTuple):
    """How an act went. Times are in seconds, as the workers took them.

    Attributes:
        act: Its title.
        requests: Requests that were answered.
        changes: Changes among them.
        errors: Answers with 5xx, and browsers that got none.
        retried: Requests the balancer sent again because a worker died under them.
        lost: Acknowledged changes that were not there.
        unseen: Acknowledged changes that could not be seen before the nodes returned.
        signed_out: Browsers whose session was gone.
        undone: Logouts after which the session was served again.
        p50: Half of the requests took at most so long.
        p99: 99 of 100 did.
        slowest: The slowest one.
        slowest_local: The slowest one while all workers were in mode ``local``; ``None`` when
            they were not.
        recovery: From the end of the fault until every node was trusted again.
        complaints: What went wrong, in words.
    """

    act: str
    requests: int
    changes: int
    errors: int
    retried: int
    lost: int
    unseen: int
    signed_out: int
    undone: int
    p50: float
    p99: float
    slowest: float
    slowest_local: float | None
    recovery: float
    complaints: list[str]

    @property
    def well(self) -> bool:
        """Whether nothing was lost and nothing failed."""
        return not (self.errors or self.lost or self.signed_out or self.undone) and self.in_time

    @property
    def in_time(self) -> bool:
        """Whether no request took longer than it may."""
        return self.slowest <= SLOWEST and (self.slowest_local or 0.0) <= SLOWEST_LOCAL


def play(name: str, *, seconds: float, visitors: int) -> Played:
    """Play the act *name* on a stage of its own."""
    title, act = ACTS[name]
    sticky = name in ("all-empty", "all-data", "all-hung")
    with tempfile.TemporaryDirectory(prefix="flask_msm-drill-") as folder:  # noqa: SIM117
        with Stage(Path(folder), MSM_STICKY=sticky) as stage:
            stage.wait_all_up()
            balancer, ghosts = Balancer(stage), Ghosts(stage)
            ghosts.sign_in(SITES[0])
            with Crowd(balancer, visitors=visitors) as crowd:
                scene = Scene(stage, balancer, crowd, seconds)
                crowd.wait_clicks(40)
                # One logs out before, one in the middle of it.
                ghosts.log_out(SITES[0])
                for number, label in enumerate(act(scene)):
                    crowd.during = label
                    if number == 1:
                        with suppress(OSError):
                            ghosts.log_out(SITES[0])
                scene.recover()
                crowd.wait_clicks(40)
            undone = ghosts.undone()
            troubles = stage.troubles()
    return _played(title, crowd, undone=undone, recovery=scene.recovery, troubles=troubles)


def _played(
    title: str, crowd: Crowd, *, undone: int, recovery: float, troubles: list[str]
) -> Played:
    spent = sorted(click.spent for click in crowd.clicks)
    local = [click.spent for click in crowd.clicks if click.during == "local"]
    return Played(
        act=title,
        requests=len(crowd.clicks),
        changes=sum(click.wrote for click in crowd.clicks),
        errors=len(crowd.failed) + len(troubles),
        retried=len(crowd.retried),
        lost=len(crowd.lost),
        unseen=len(crowd.unseen),
        signed_out=len(crowd.signed_out),
        undone=undone,
        p50=spent[len(spent) // 2],
        p99=spent[len(spent) * 99 // 100],
        slowest=spent[-1],
        slowest_local=max(local) if local else None,
        recovery=recovery,
        complaints=[*crowd.complaints(), *troubles],
    )
