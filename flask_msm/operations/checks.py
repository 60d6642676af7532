"""Whether the next node may be restarted, for deployment scripts."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from flask_msm.errors import NodeError


if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from flask_msm.application import Cluster
    from flask_msm.cluster.shared_map import Fetched
    from flask_msm.process.clock import Clock

    from .losses import Lost
    from .state.readiness import Wait


class Finding(NamedTuple):
    """What was found of one node.

    Attributes:
        node: Its id.
        up: It answers and lacks nothing, as every worker sees it, or an operator drained it.
        text: In words.
        drained: An operator drained it.
        foreign: It is well, and another fleet uses the same keys.
        answers: It can be looked at.
    """

    node: str
    up: bool
    text: str
    drained: bool = False
    foreign: bool = False
    answers: bool = False


class Report(NamedTuple):
    """What was found of all nodes.

    Attributes:
        all_up: Every node is up, and every worker says so: losing any one of them loses nothing.
        nodes: One finding each.
        waits_for: What has to be over before, in words; empty when *all_up*.
        lost: That sessions are being lost, in words; empty if not. Nodes that are up may be
            restarted all the same, and it does not end by waiting.
    """

    all_up: bool
    nodes: tuple[Finding, ...]
    waits_for: tuple[str, ...] = ()
    lost: str = ""


#: Time in seconds between two looks.
PAUSE = 0.2
UP, DRAINED = "up", "drained by an operator"
FOREIGN = (
    "holds what another application shares, or this one with other keys (SECRET_KEY,"
    " MSM_ENCRYPTION_KEYS): give each application an own MSM_KEY_PREFIX"
)


def wait_for_nodes(
    look: Callable[[], Report],
    clock: Clock,
    timeout: float,
    on_wait: Callable[[Report], object],
) -> Report:
    """Return the report as soon as all nodes are up, or the last one after *timeout* seconds.

    Args:
        look: Looks once.
        clock: Measures how long it takes.
        timeout: Time in seconds.
        on_wait: Is called with each report before it is waited for another one.
    """
    until = clock.monotonic() + timeout
    while True:
        report = look()
        if report.all_up or clock.monotonic() >= until:
            return report
        on_wait(report)
        time.sleep(PAUSE)


def judged(findings: Sequence[Finding], waits: Sequence[Wait], lost: Lost | None = None) -> Report:
    """Return what follows from the nodes themselves and from what their workers report."""
    seen = {wait.node: wait.text for wait in reversed(waits) if wait.node is not None}
    nodes = tuple(
        finding._replace(up=False, text=seen[finding.node])
        # What a node itself shows is newer than what workers reported of it.
        if finding.up and finding.node in seen
        else finding
        for finding in findings
    )
    found = [f"{finding.node} {finding.text}" for finding in nodes if not finding.up]
    found += [wait.text for wait in waits if wait.node is None]
    losing = ""
    if lost is not None and lost.too_many:
        losing = f"sessions are being lost, {lost.lost} in 15 minutes: flask msm status says why"
    return Report(not found, nodes, tuple(found), losing)


def check_nodes(cluster: Cluster, clock: Clock, node_time: float) -> tuple[Finding, ...]:
    """Look at the fleet from outside: learn what nodes know, set nothing, start nothing.

    One node may take *node_time* seconds.
    """
    control, workers = cluster.control, cluster.workers
    maps = control.shared, workers.shared
    answers: dict[str, str | None] = {}
    cluster.membership.host.read()
    for node_id, node in cluster.nodes.items():
        try:
            found = node.get_many([one.key for one in maps], clock.monotonic() + node_time)
        except NodeError as error:
            answers[node_id] = error.reason
        else:
            pulled, _ = [one.merge(found.get(one.key)) for one in maps]
            # A node that no worker has seen since it started holds nothing, trusted or not.
            answers[node_id] = _trouble(pulled)
    drains, layouts_differ = control.drains(), workers.layouts_differ()
    findings = []
    for node_id, trouble in answers.items():
        drain = drains.get(node_id)
        if drain == "drained":
            text = DRAINED
        elif trouble is not None:
            text = trouble
        elif drain is not None:
            text = "is being drained"
        elif layouts_differ:
            text = "workers use different nodes"
        elif not control.standing(node_id).trusted:
            text = "waits to be filled"
        else:
            text = UP
        is_up, is_drained = text in (UP, DRAINED), text == DRAINED
        findings.append(
            Finding(node_id, is_up, text, is_drained, text == FOREIGN, trouble in {None, FOREIGN})
        )
    return tuple(findings)


def _trouble(pulled: Fetched) -> str | None:
    """Return what is wrong with what a node holds."""
    if pulled.foreign:
        return FOREIGN
    return None if pulled.found else "no worker has seen it since it started"
