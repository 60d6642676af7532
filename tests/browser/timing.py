"""Prints what overview and state cost: processor time of a whole request, in milliseconds."""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path


ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "dashboard"), str(ROOT / "tests")]

from support.dashboard import client_of  # noqa: E402
from support.fake_console import FakeConsole  # noqa: E402
from support.fleet_scenes import large, node_down  # noqa: E402


for name, scene in (("3 nodes, 8 workers", node_down), ("50 nodes, 200 workers", large)):
    client, _ = client_of(FakeConsole(scene()))
    for page, path in (("overview", ""), ("state", "api/v1/state")):
        client.get("/msm-admin/" + path)
        times = []
        for _ in range(50):
            began = time.process_time()
            client.get("/msm-admin/" + path)
            times.append((time.process_time() - began) * 1000)
        print(f"{page}, {name}: {statistics.median(times):.1f} ms")
