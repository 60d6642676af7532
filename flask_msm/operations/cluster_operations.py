"""What people can see and change only with nodes, put together once for the console."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .checks import ReadinessCheck
from .commander import Commander
from .inspection import RecordAudit
from .observer import Observer


if TYPE_CHECKING:
    from flask_msm.application import Application, Cluster
    from flask_msm.process.clock import Clock
    from flask_msm.settings.settings import Settings


class ClusterOperations:
    """Watches and changes the cluster of one application.

    Args:
        parts: The application's.
        cluster: Its part for nodes.
        settings: The application's.
        clock: Tells the time.

    Attributes:
        cluster: As given.
        observer: Collects the reports of all workers.
        commander: Changes what holds for all of them.
        gate: Tells whether the next node may be restarted.
        inspector: Looks at the records on nodes.
    """

    def __init__(
        self, parts: Application, cluster: Cluster, settings: Settings, clock: Clock
    ) -> None:
        self.cluster = cluster
        self.observer = Observer(
            cluster.reports,
            heartbeat=cluster.heartbeat,
            local=parts.local,
            publisher=cluster.publisher,
            numbers=lambda: cluster.prober.numbers,
            usable=lambda: any(view.rights.joined for view in cluster.state.view().values()),
            keys=parts.keys,
            clock=clock,
            timeout=settings.timeout,
            later=cluster.lanes.aside,
            begin=cluster.runtime.on_load,
            begun=lambda: cluster.runtime.begun,
        )
        self.commander = Commander(
            cluster.sharing,
            control=cluster.control,
            heartbeat=cluster.heartbeat,
            state=cluster.state,
            nodes=cluster.nodes,
            events=parts.events,
            configured=cluster.configured.__getitem__,
        )
        self.gate = ReadinessCheck(
            cluster.nodes,
            look=cluster.look_afresh,
            keys=parts.keys,
            clock=clock,
            timeout=settings.connect_timeout + settings.timeout,
        )
        self.inspector = RecordAudit(
            cluster.nodes, prefix=settings.key_prefix, keys=parts.keys, clock=clock
        )
