"""``python -m benchmarks.mirror``: what the mirror costs a changed request on its own thread.

The copy itself is made behind the response, in another thread; what the request pays is taking
note of it.
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path
from time import perf_counter

from flask import Flask

from flask_msm import MemcachedSessionManager
from flask_msm.record.keys import storage_key
from flask_msm.record.token import new_sid

from .cells import CONTENT


SESSIONS = 2000
#: So many are noted before the background has time to catch up.
BATCH = 50


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory(prefix="flask_msm-bench-") as folder:
        app = Flask("bench-mirror")
        # No node listens there and none is asked: records are made here.
        app.config.update(
            SECRET_KEY="only for measuring",  # noqa: S106
            MSM_NODES="n1:127.0.0.1:1",
            MSM_LOCAL_DIR=folder,
        )
        manager = MemcachedSessionManager(app)
        parts = manager.state(app).parts
        cluster = parts.cluster
        assert cluster is not None  # noqa: S101  (there are nodes)
        assert cluster.mirror is not None  # noqa: S101  (it is on by default)
        codec = parts.repository.codec
        drafts = parts.repository.builder(3600.0)
        changes: dict[str, bytes | None] = {n: codec.dumps(v) for n, v in CONTENT.items()}
        seconds = []
        for number in range(SESSIONS):
            key = storage_key("bench:", new_sid())
            record = drafts.first(changes)
            began = perf_counter()
            cluster.mirror.note(key, record)
            seconds.append(perf_counter() - began)
            if number % BATCH == 0:
                for background in parts.backgrounds:
                    background.flush(10.0)
        manager.close(app)
        kept = len(list(Path(folder).glob("*/sessions/*")))
    microseconds = sorted(second * 1e6 for second in seconds)
    print(
        f"the mirror costs a changed request {statistics.median(microseconds):.1f} microseconds"
        f" (median of {SESSIONS}, 90 % below {microseconds[SESSIONS * 9 // 10]:.1f};"
        f" goal: at most 10); {kept} sessions were copied, {cluster.mirror.dropped} were not"
    )


if __name__ == "__main__":
    main()
