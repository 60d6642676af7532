"""The state document: all that a dashboard or a command line shows, in one immutable snapshot.

Plain data, made by the console and read by what shows it. What is not known is ``None``, never
0 and never a guess. Times are floats in seconds since the epoch, durations and latencies floats in
seconds, sizes whole bytes, ratios between 0 and 1. Stamps are strings: they are too large for
JavaScript, and may only be compared. Texts come from the network: they are
bounded, and have to be escaped before they are shown. There is no value of a session in here, no
session id and no cookie.
"""

from __future__ import annotations

from .blacklist import BlacklistEntry
from .choices import Choice
from .document import Snapshot
from .events import Event, Level
from .nodes import Drain, Node, NodeStateName, Opinion, Rebuild
from .observer import Observer, Source
from .sessions import SessionFacts
from .statistics import NodeStats
from .traffic import Histogram, Traffic
from .workers import COUNTED, LocalStorage, Mode, Worker


__all__ = [
    "COUNTED",
    "BlacklistEntry",
    "Choice",
    "Drain",
    "Event",
    "Histogram",
    "Level",
    "LocalStorage",
    "Mode",
    "Node",
    "NodeStateName",
    "NodeStats",
    "Observer",
    "Opinion",
    "Rebuild",
    "SessionFacts",
    "Snapshot",
    "Source",
    "Traffic",
    "Worker",
]
