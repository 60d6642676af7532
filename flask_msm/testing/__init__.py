"""What the tests of an application need: nodes that fail on demand, and views of other workers.

Not imported by the rest of the package. The guide is docs/testing.md.

::

    from flask_msm.testing import Nodes, stored

    with Nodes() as nodes:
        app = create_app(nodes.config())
        client = app.test_client()
        client.post("/cart/apple")
        nodes.kill("n1")
        assert stored(client)["cart"] == ["apple"]
"""

from __future__ import annotations

from .contents import assert_serializable
from .node import Node
from .node_set import Nodes
from .workers import holders, probe, same_browser, settle, stored, wait_for_mode


__all__ = [
    "Node",
    "Nodes",
    "assert_serializable",
    "holders",
    "probe",
    "same_browser",
    "settle",
    "stored",
    "wait_for_mode",
]
