"""From the picture of the fleet to the document that is shown; what is not known is ``None``."""

from __future__ import annotations

from .events import MOST_EVENTS
from .viewer import SnapshotBuilder


__all__ = ["MOST_EVENTS", "SnapshotBuilder"]
