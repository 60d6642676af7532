"""An operator at the command line of an application over real nodes."""

from __future__ import annotations

from flask import Flask

from flask_msm import MemcachedSessionManager
from flask_msm.cluster.health import NodeState
from flask_msm.testing.memcached import wait_until
from harness.memcached import addresses

from .patience import PATIENT, rebuild_soon


PREFIX = "msm:cli:"


class Operator:
    """An operator at the command line, and one worker of the fleet that is ticked by hand."""

    def __init__(self, nodes, **config) -> None:
        self.nodes = nodes
        self.config = {
            "SECRET_KEY": "cli",
            "MSM_NODES": addresses(nodes),
            "MSM_KEY_PREFIX": PREFIX,
            # A worker that has not reported for ten of them is gone.
            "MSM_PROBE_INTERVAL": 2,
            "MSM_PROBE_MAX_BACKOFF": 2,
            **PATIENT,
            "MSM_RECOVERY_THRESHOLD": 1,
            **config,
        }
        self.worker = self.app()
        state = self.worker.extensions["msm"]
        self.cluster, self.console = state.parts.cluster, state.console
        rebuild_soon(self.cluster.monitor)

    def app(self):
        app = Flask("cli")
        app.config.update(self.config)
        MemcachedSessionManager(app)
        return app

    def run(self, *arguments):
        """Run one command in an application of its own, as a new process would."""
        app = self.app()
        result = app.test_cli_runner().invoke(args=["msm", *arguments])
        for node in app.extensions["msm"].nodes.values():
            node.close()
        return result

    def work(self):
        """Begin as a worker does, and report for the first time."""
        self.cluster.monitor.begin()
        self.cluster.monitor.tick()

    def settle(self):
        settle(self.cluster)

    def wait_safe(self):
        """Tick until ``check`` says that the next node may be restarted."""

        def is_safe():
            self.cluster.monitor.tick()
            return self.run("check").exit_code == 0

        wait_until(is_safe, "the next node may be restarted")

    def tick_until(self, node_id, state):
        def reached():
            self.cluster.monitor.tick()
            return self.cluster.state.view()[node_id].state is state

        wait_until(reached, f"{node_id} is {state.value}")

    def close(self):
        self.worker.extensions["msm"].close()


def settle(*clusters, within="all nodes are up and trusted"):
    """Tick until every node is trusted by every worker."""

    def settled():
        for cluster in clusters:
            cluster.monitor.tick()
        return all(
            view.trusted and view.state is NodeState.UP
            for cluster in clusters
            for view in cluster.state.view().values()
        )

    wait_until(settled, within)
