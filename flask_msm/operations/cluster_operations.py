"""What people can see only with nodes, put together once for the console."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask_msm.sessions.overrides import BLACKLIST_NOTE

from .checks import ReadinessCheck
from .inspection import RecordAudit
from .observer import Observer


if TYPE_CHECKING:
    from flask_msm.application import Application, Cluster
    from flask_msm.process.clock import Clock
    from flask_msm.settings.settings import Settings


class ClusterOperations:
    """Watches the cluster of one application.

    Attributes:
        gate: Judges whether the next node may be restarted.
        inspector: Looks at the records on nodes.
    """

    def __init__(
        self, application: Application, cluster: Cluster, settings: Settings, clock: Clock
    ) -> None:
        self.cluster = cluster
        self._application = application
        self.observer = Observer(cluster, application.local, clock=clock, timeout=settings.timeout)
        self.gate = ReadinessCheck(
            cluster.nodes,
            look=cluster.look_afresh,
            clock=clock,
            timeout=settings.connect_timeout + settings.timeout,
        )
        self.inspector = RecordAudit(
            cluster.nodes, envelope=application.envelope, prefix=settings.key_prefix, clock=clock
        )

    def visit(self) -> None:
        """Be used by a process that is no worker: nothing is started or made."""
        application = self._application
        application.events.visit()
        for background in self.cluster.backgrounds:
            background.refuse()
        self.observer.visit()
        application.local.visit()
        # A visitor has to look for the folder; a worker has it open.
        application.local.get_blob(BLACKLIST_NOTE)
