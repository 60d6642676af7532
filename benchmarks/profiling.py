"""Where the time of one kind of request goes, by looking at the stack at regular intervals.

A tracing profiler makes small functions look large. Looking now and then does not, but each look
disturbs what comes next: so requests are timed without being looked at first, and that time is
shared out by how often each function was seen. What the application without sessions spends in the
same functions is taken off.
"""

from __future__ import annotations

import gc
import signal
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import flask_msm

from .measure import Group, measure, quartiles, taking_turns


if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import CodeType, FrameType

    from .visitors import Visitor

T = TypeVar("T")

# Seconds between two looks; no multiple of anything.
INTERVAL = 0.001_087
LOOKED_AT = 25_000
TIMED = 4000
# Requests before it is the other's turn, and turns between two garbage collections.
TURN = 20
COLLECT_EVERY = 20
_SHOWN = 40
_OURS = str(Path(flask_msm.__file__).parent.parent)


class Sampler:
    """Counts which functions run themselves (``own``), and those or what they call (``whole``)."""

    def __init__(self) -> None:
        self.own: Counter[CodeType] = Counter()
        self.whole: Counter[CodeType] = Counter()

    def look(self, frame: FrameType | None) -> None:
        """Count."""
        if frame is not None:
            self.own[frame.f_code] += 1
        seen = set()
        while frame is not None:
            seen.add(frame.f_code)
            frame = frame.f_back
        self.whole.update(seen)

    def shares(self, looks: Counter[CodeType], microseconds: float) -> dict[CodeType, float]:
        """Return *microseconds* shared out by *looks*."""
        each = microseconds / max(1, self.own.total())
        return {code: number * each for code, number in looks.items()}


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
        for number in range(LOOKED_AT // TURN):
            if number % COLLECT_EVERY == 0:
                gc.collect()
            for visitor, sampler in zip(visitors, samplers, strict=True):
                visitor.request()
                current = sampler
                for _ in range(TURN):
                    visitor.request()
                current = None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        gc.enable()
    return samplers


def profile(visitor: Visitor, bare: Visitor) -> str:
    """Return a table of what *visitor*'s requests spend beyond *bare*'s, by function."""
    groups = {"with": taking_turns([visitor]), "without": taking_turns([bare])}
    timed = Group("profile", groups)
    measure([timed], TIMED)
    times = [quartiles(timed.whole(name))[1] for name in groups]
    own, whole = _difference(sample((visitor, bare)), times)
    lines = [
        f"{times[0]:.1f} us a request (median), {times[1]:.1f} without sessions; {TIMED} were",
        f"timed, {LOOKED_AT} looked at every {INTERVAL * 1000:.1f} ms, of each kind",
        "",
        "   own  with callees  us that sessions add, by function",
    ]
    for code, time in _falling(own)[:_SHOWN]:
        lines.append(f"{time:6.2f} {whole[code]:13.2f}  {_place(code)}")
    packages: dict[str, float] = defaultdict(float)
    for code, time in own.items():
        packages[_package(code)] += time
    lines += ["", "   own  us that sessions add, by package"]
    lines += [f"{time:6.2f}  {name}" for name, time in _falling(packages)]
    return "\n".join(lines)


def _difference(
    samplers: Sequence[Sampler], times: Sequence[float]
) -> tuple[dict[CodeType, float], dict[CodeType, float]]:
    """Return what the first one spends more than the second, itself and with callees."""
    own: dict[CodeType, float] = defaultdict(float)
    whole: dict[CodeType, float] = defaultdict(float)
    for sampler, microseconds, sign in zip(samplers, times, (1, -1), strict=True):
        for looks, total in ((sampler.own, own), (sampler.whole, whole)):
            for code, share in sampler.shares(looks, microseconds).items():
                total[code] += sign * share
    return own, whole


def _falling(times: Mapping[T, float]) -> list[tuple[T, float]]:
    return sorted(times.items(), key=lambda item: -item[1])


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
