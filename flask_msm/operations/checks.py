"""Whether the next node may be restarted, for deployment scripts."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from flask_msm.errors import NodeError


if TYPE_CHECKING:
    from collections.abc import Mapping

    from flask_msm.cluster.control import Control
    from flask_msm.cluster.shared_map import Fetched
    from flask_msm.cluster.workers import WorkerRegistry
    from flask_msm.memcached.client import MemcachedNode
    from flask_msm.process.clock import Clock


class Finding(NamedTuple):
    """What was found of one node.

    Attributes:
        node: Its id.
        up: It answers and the fleet trusts it, or an operator drained it.
        text: In words.
        drained: An operator drained it.
        foreign: It is well, and another fleet uses the same keys.
    """

    node: str
    up: bool
    text: str
    drained: bool = False
    foreign: bool = False


class Report(NamedTuple):
    """What was found of all nodes.

    Attributes:
        all_up: Every node is up and trusted: losing any one of them loses nothing.
        nodes: One finding each.
    """

    all_up: bool
    nodes: tuple[Finding, ...]


UP, DRAINED = "up and trusted", "drained by an operator"
FOREIGN = (
    "holds what another application shares, or this one with other keys (SECRET_KEY,"
    " MSM_ENCRYPTION_KEYS): give each application an own MSM_KEY_PREFIX"
)


class ReadinessCheck:
    """Looks at the fleet from outside: sets nothing, starts nothing.

    *look* returns an empty control state and registry to read the fleet's into, one node may take
    *timeout* seconds.
    """

    def __init__(
        self,
        nodes: Mapping[str, MemcachedNode],
        *,
        look: Callable[[], tuple[Control, WorkerRegistry]],
        clock: Clock,
        timeout: float,
    ) -> None:
        self._nodes = nodes
        self._look = look
        self._clock = clock
        self._timeout = timeout

    def check(self) -> Report:
        """Return how things are now."""
        control, heartbeat = self._look()
        answers: dict[str, str | None] = {}
        for node_id, node in self._nodes.items():
            deadline = self._clock.monotonic() + self._timeout
            try:
                pulled = control.shared.pull(node, deadline)
                heartbeat.shared.pull(node, deadline)
            except NodeError as error:
                answers[node_id] = error.reason
            else:
                # A node that no worker has seen since it started holds nothing, trusted or not.
                answers[node_id] = _trouble(pulled)
        drains = control.drains()
        findings = []
        for node_id, trouble in answers.items():
            drain = drains.get(node_id)
            if drain == "drained":
                text = DRAINED
            elif trouble is not None:
                text = trouble
            elif drain is not None:
                text = "is being drained"
            elif heartbeat.layouts_differ():
                text = "workers use different nodes"
            elif not control.standing(node_id).trusted:
                text = "waits for its rebuild"
            else:
                text = UP
            findings.append(
                Finding(
                    node_id,
                    up=text in (UP, DRAINED),
                    text=text,
                    drained=text == DRAINED,
                    foreign=text == FOREIGN,
                )
            )
        return Report(all(finding.up for finding in findings), tuple(findings))

    def wait(self, timeout: float, pause: Callable[[float], object]) -> Report:
        """Return the report as soon as all nodes are up, or the last one after *timeout* seconds.

        *pause* is called with the time in seconds to wait between two looks.
        """
        until = self._clock.monotonic() + timeout
        while True:
            report = self.check()
            if report.all_up or self._clock.monotonic() >= until:
                return report
            pause(0.2)


def _trouble(pulled: Fetched) -> str | None:
    """Return what is wrong with what a node holds."""
    if pulled.foreign:
        return FOREIGN
    return None if pulled.found else "no worker has seen it since it started"
