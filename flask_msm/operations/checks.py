"""Whether the next node may be restarted, for deployment scripts."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from flask_msm.errors import NodeError


if TYPE_CHECKING:
    from flask_msm.application import Cluster
    from flask_msm.cluster.shared_map import Fetched
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


#: Time in seconds between two looks.
PAUSE = 0.2
UP, DRAINED = "up and trusted", "drained by an operator"
FOREIGN = (
    "holds what another application shares, or this one with other keys (SECRET_KEY,"
    " MSM_ENCRYPTION_KEYS): give each application an own MSM_KEY_PREFIX"
)


def wait_for_nodes(cluster: Cluster, clock: Clock, timeout: float, node_time: float) -> Report:
    """Return the report as soon as all nodes are up, or the last one after *timeout* seconds."""
    until = clock.monotonic() + timeout
    while True:
        report = check_nodes(cluster, clock, node_time)
        if report.all_up or clock.monotonic() >= until:
            return report
        time.sleep(PAUSE)


def check_nodes(cluster: Cluster, clock: Clock, node_time: float) -> Report:
    """Look at the fleet from outside: set nothing, start nothing.

    One node may take *node_time* seconds.
    """
    control, workers = cluster.look_afresh()
    answers: dict[str, str | None] = {}
    for node_id, node in cluster.nodes.items():
        deadline = clock.monotonic() + node_time
        try:
            pulled = control.shared.pull(node, deadline)
            workers.shared.pull(node, deadline)
        except NodeError as error:
            answers[node_id] = error.reason
        else:
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
            text = "waits for its rebuild"
        else:
            text = UP
        is_up, is_drained = text in (UP, DRAINED), text == DRAINED
        findings.append(Finding(node_id, is_up, text, is_drained, foreign=text == FOREIGN))
    return Report(all(finding.up for finding in findings), tuple(findings))


def _trouble(pulled: Fetched) -> str | None:
    """Return what is wrong with what a node holds."""
    if pulled.foreign:
        return FOREIGN
    return None if pulled.found else "no worker has seen it since it started"
