"""Where the time of one kind of request goes, by looking at the stack at regular intervals.

A tracing profiler makes small functions look large; looking from outside costs them nothing. What
the application without sessions spends in the same functions is taken off.
"""

from __future__ import annotations

import gc
import signal
from collections import Counter
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import flask_msm


if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import CodeType, FrameType

    from .visitors import Visitor

# Seconds between two looks; no multiple of anything.
INTERVAL = 0.000_293
REQUESTS = 20_000
# Requests before it is the other's turn, and turns between two garbage collections.
TURN = 20
COLLECT_EVERY = 20
_SHOWN = 40
_OURS = str(Path(flask_msm.__file__).parent.parent)


class Sampler:
    """Counts what runs while somebody's requests are under way.

    Attributes:
        own: Looks that found a function running itself.
        whole: Looks that found it running, or what it had called.
        seconds: How long the requests took.
    """

    def __init__(self) -> None:
        self.own: Counter[CodeType] = Counter()
        self.whole: Counter[CodeType] = Counter()
        self.seconds = 0.0

    def look(self, frame: FrameType | None) -> None:
        """Count the functions on the stack of *frame*."""
        if frame is not None:
            self.own[frame.f_code] += 1
        seen = set()
        while frame is not None:
            seen.add(frame.f_code)
            frame = frame.f_back
        self.whole.update(seen)

    def nanoseconds(self, looks: Counter[CodeType]) -> Counter[CodeType]:
        """Return *looks* as times of one request."""
        each = self.seconds * 1e9 / REQUESTS / max(1, self.own.total())
        return Counter({code: round(number * each) for code, number in looks.items()})


def sample(visitors: Sequence[Visitor]) -> list[Sampler]:
    """Send requests of *visitors*, a few at a time in turn, and look."""
    samplers = [Sampler() for _ in visitors]
    current: Sampler | None = None

    def look(_: int, frame: FrameType | None) -> None:
        if current is not None:
            current.look(frame)

    before = signal.signal(signal.SIGALRM, look)
    signal.setitimer(signal.ITIMER_REAL, INTERVAL, INTERVAL)
    gc.disable()
    try:
        for number in range(REQUESTS // TURN):
            if number % COLLECT_EVERY == 0:
                gc.collect()
            for visitor, sampler in zip(visitors, samplers, strict=True):
                visitor.request()
                current = sampler
                began = perf_counter()
                for _ in range(TURN):
                    visitor.request()
                sampler.seconds += perf_counter() - began
                current = None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        gc.enable()
    return samplers


def profile(visitor: Visitor, bare: Visitor) -> str:
    """Return a table of what *visitor*'s requests spend beyond *bare*'s, by function."""
    mine, other = sample((visitor, bare))
    own, whole = mine.nanoseconds(mine.own), mine.nanoseconds(mine.whole)
    # Not Counter's own "-", which would hide what became less.
    own.subtract(other.nanoseconds(other.own))
    whole.subtract(other.nanoseconds(other.whole))
    times = [one.seconds * 1e6 / REQUESTS for one in (mine, other)]
    head = (
        f"{times[0]:.1f} us a request on the average, {times[1]:.1f} without sessions; "
        f"{REQUESTS} of each, looked at every {INTERVAL * 1e6:.0f} us"
    )
    lines = [head, "", "   own  with callees  us that sessions add, by function"]
    for code, time in own.most_common(_SHOWN):
        lines.append(f"{time / 1000:6.2f} {whole[code] / 1000:13.2f}  {_place(code)}")
    lines += ["", "   own  us that sessions add, by package"]
    packages: Counter[str] = Counter()
    for code, time in own.items():
        packages[_package(code)] += time
    lines += [f"{time / 1000:6.2f}  {name}" for name, time in packages.most_common()]
    return "\n".join(lines)


def _place(code: CodeType) -> str:
    return f"{_short(code)}:{code.co_firstlineno} {code.co_qualname}"


def _package(code: CodeType) -> str:
    top = _short(code).split("/", 1)[0]
    return "standard library" if top.endswith(".py") else top


def _short(code: CodeType) -> str:
    """Return the file of *code*, from its package on."""
    name = code.co_filename.removeprefix(_OURS + "/")
    for folder in ("/site-packages/", "/python3."):
        _, found, rest = name.rpartition(folder)
        if found:
            return rest if folder == "/site-packages/" else rest.partition("/")[2]
    return name
