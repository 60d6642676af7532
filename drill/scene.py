"""What an act can do: break something, let people click, and wait until all is well again."""

from __future__ import annotations

import os
import signal
import time
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from flask_msm.testing.memcached import wait_until

from .browser import Gate
from .crowd import Crowd
from .stage import EAST


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .clients import Clients
    from .stage import Stage

#: Clicks between two faults, and while a fault lasts, at least: on a busy machine a second may be
#: next to nothing.
_CLICKS = 40
#: Seconds after the return of nodes in which everything must be in the cluster.
_RETURN = 10.0


class Scene:
    """An act that is being played.

    Args:
        stage: What it is played on.
        clients: The people who click.
        seconds: Time in seconds a fault lasts.
        across: While no node can be reached requests go to any site, and these cannot see each
            other.

    Attributes:
        stage: What it is played on.
        recovery: Seconds from the end of a fault until all was well again, the longest.
        remark: Note on how the act was played, for the table.
    """

    def __init__(self, stage: Stage, clients: Clients, seconds: float, *, across: bool) -> None:
        self.stage = stage
        self.recovery = 0.0
        self.remark = ""
        self._clients = clients
        self._seen = clients.seen
        self._seconds = seconds
        self._across = across

    @property
    def nodes(self) -> tuple[str, ...]:
        """The ids of the nodes."""
        return tuple(self.stage.cluster.nodes)

    def lasts(self, phase: str) -> None:
        """Let people click for as long as a fault lasts."""
        self._seen.phase = phase
        until = time.monotonic() + self._seconds
        self._clients.wait_clicks(_CLICKS)
        wait_until(lambda: time.monotonic() >= until, "the fault to last")

    def begin_outage(self, phase: str = "nodes go") -> None:
        """Say that no node can be reached, or is to be used, from now on."""
        self._seen.phase = phase
        self._seen.outage = True
        self._seen.apart = self._across

    def outage(self) -> None:
        """Wait until every worker keeps sessions on its host, and let people click."""
        self.stage.wait_local()
        self.lasts("local")

    def recover(self, patience: float | None = None) -> None:
        """Wait until losing any node would lose nothing, and everything is in the cluster.

        Args:
            patience: Seconds the first may take; see ``Stage.wait_all_up``.
        """
        began, seen = time.monotonic(), self._seen
        seen.phase = "back"
        self.stage.wait_all_up(patience)
        if seen.outage:
            # Asked at a site that no browser used so far: its local storage is empty.
            self._clients.look_from(self.stage.fresh.port, began + _RETURN)
            seen.together = time.monotonic()
            seen.outage = seen.apart = False
        self.recovery = max(self.recovery, time.monotonic() - began)
        seen.phase = "well again"
        self._clients.wait_clicks(_CLICKS)

    def kill_before_fresh_eyes(self, crowd: Crowd, node: str, phase: str) -> None:
        """Kill a node; a site with nothing in local storage must find all in the others."""
        with self.clicks_paused():
            self.stage.cluster.kill([node])
            self.phase(phase)
            crowd.look_from(self.stage.fresh.port, Gate())

    def never_reported(self, *kinds: str) -> None:
        """Call it a failure when a worker has logged an event of these kinds."""
        self._seen.failed += [line for kind in kinds for line in self.stage.reported(kind)]

    def filled(self, node: str) -> int:
        """Return how often workers have logged that they filled a node."""
        lines = self.stage.reported("rebuild_finished")
        return sum(f" {node} " in line for line in lines)

    def wait_all_known(self) -> None:
        """Wait until a worker of this version sees all others live, of whichever version."""
        self.stage.wait_all_known()

    def phase(self, phase: str) -> None:
        """Say what is the matter from now on."""
        self._seen.phase = phase

    def crowd(self, readers: int) -> Crowd:
        """Return many sessions of one size, *readers* of which are read again and again."""
        port, seen = self.stage.balancer.port, self._seen
        return Crowd(port, readers, seen=seen, gate=self._clients.gate)

    def heavy(self, *, raises: bool) -> None:
        """Have a visitor click whose session is too large for the nodes.

        Args:
            raises: The policy is ``raise``.
        """
        self._clients.heavy(raises=raises)

    def clicks_paused(self) -> AbstractContextManager[None]:
        """Hold all visitors back while the block runs."""
        return self._clients.gate.held()

    def arrive(self, visitors: int) -> None:
        """Let more people sign in, and click like the others."""
        self._clients.arrive(visitors)

    def leave_during(self, block: AbstractContextManager[object]) -> None:
        """Have some people sign out during *block*; no other request is sent then."""
        self._clients.leave_during(block)

    def kill_worker(self) -> None:
        """Kill a worker of the first site; connections to it break."""
        self._seen.may_break = True
        self.stage.sites[EAST].kill_worker()

    def kill_rebuilder(self) -> None:
        """Kill the worker that began a rebuild last; connections to it break."""
        self._seen.may_break = True
        os.kill(self.stage.rebuilder(), signal.SIGKILL)

    def call_wrong(self, text: str) -> None:
        """Call something a failure, in words."""
        self._seen.failed.append(text)

    def kill_site(self, name: str) -> None:
        """Kill a site; connections to it break, and are refused until it is started again."""
        self._seen.may_break = True
        self.stage.sites[name].kill()

    def deploy(
        self, name: str, settings: Mapping[str, object], meanwhile: Callable[[], None] | None = None
    ) -> None:
        """Start a site again with other settings; connections to it break.

        Args:
            name: The site's; another place that looks at the nodes has nothing to start again.
            settings: What is different.
            meanwhile: Called while it does not run.
        """
        self._seen.phase = f"deploy of {name}"
        self._seen.may_break = True
        site = self.stage.all_sites().get(name)
        if site:
            site.deploy(settings, meanwhile)
        elif meanwhile:
            meanwhile()

    def spoil(self) -> None:
        """Put garbage in the place of every record.

        People are held back for that moment: the mirror is made behind the response, so a change
        of the last milliseconds is in the nodes only and need not survive this.
        """
        with self._clients.gate.held():
            self.stage.cluster.spoil()
