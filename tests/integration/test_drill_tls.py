"""The nodes of the drill speak TLS when it is switched on: a real ``memcached -Z``."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from drill.cluster import Cluster
from drill.tls import CERTIFICATE, with_context
from flask_msm.errors import NodeError
from flask_msm.memcached.client import MemcachedNode
from harness.processes import HOST


pytestmark = pytest.mark.memcached


def has_tls() -> bool:
    helped = subprocess.run(["memcached", "-h"], capture_output=True, text=True, check=False)
    return "enable-ssl" in helped.stdout


def node_at(address: str, config: dict[str, object]) -> MemcachedNode:
    return MemcachedNode(
        "n1",
        host=HOST,
        port=int(address.rpartition(":")[2]),
        connect_timeout=5.0,
        timeout=5.0,
        pool_size=1,
        tls_context=with_context(config).get("MSM_TLS_CONTEXT"),  # type: ignore[arg-type]
    )


def test_a_node_of_the_drill_speaks_tls_and_comes_back_where_it_was(tmp_path: Path) -> None:
    if not has_tls():
        pytest.skip("this memcached was built without TLS")
    with Cluster(tmp_path, ["east"], tls=True) as cluster:
        address = cluster.addresses("east").split()[0]
        node = node_at(address, {CERTIFICATE: str(cluster.certificate)})
        deadline = time.monotonic() + 10
        assert node.start_add("key", b"value", 60, deadline).result() is True
        with pytest.raises(NodeError):
            node_at(address, {}).start_gets("key", deadline).result()

        cluster.kill(["n1"])
        with pytest.raises(NodeError):
            node.start_gets("key", deadline).result()
        cluster.restart(["n1"])

        assert node.start_gets("key", time.monotonic() + 10).result() is None
        assert cluster.evictions() == {"n1": 0, "n2": 0, "n3": 0}
        node.close()
