"""The worker that looked at the fleet, and how much of it could be seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


Source = Literal["fleet", "host", "self"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Observer:
    """The worker that looked, and how much of the fleet could be seen.

    Attributes:
        worker: Name of the worker that made the snapshot.
        host: Its host.
        version: Version of this package there.
        app: Name of the application.
        environment: ``MSM_ENVIRONMENT``.
        source: ``fleet``: through memcached; ``host``: memcached does not answer, only workers of
            this host are seen; ``self``: only this worker is seen.
        gathered_at: When reports of the others were collected last.
        workers_known: Workers that are known to live, seen or not.
        workers_seen: Workers among them whose reports are in the snapshot.
    """

    worker: str
    host: str
    version: str
    app: str
    environment: str | None = None
    source: Source = "self"
    gathered_at: float | None = None
    workers_known: int | None = None
    workers_seen: int = 1

    @property
    def complete(self) -> bool:
        """Whether every worker that is known to live is in the snapshot."""
        return self.source == "fleet" and self.workers_seen >= (self.workers_known or 0)
