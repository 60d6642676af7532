"""How parsers are fuzzed: so many inputs, each within bounds of time and memory, all counted.

``FUZZ_EXAMPLES`` sets how many inputs each test gets, new ones with every run; without it there
are a few, always the same, so that the default run is short and says the same twice.
"""

from __future__ import annotations

import functools
import os
import time
import tracemalloc
from collections import Counter

from hypothesis import HealthCheck, given, settings


#: Inputs of each test by default.
BRIEF = 100
#: One input may take so much time of the processor, seconds.
SECONDS = 2.0
#: One input may take so much memory at a time, bytes, beyond what its own size excuses.
BYTES = 8 * 1024 * 1024

EXECUTIONS: Counter[str] = Counter()
LONGEST: dict[str, float] = {}


def is_long() -> bool:
    """Return whether more than the default run was asked for."""
    return "FUZZ_EXAMPLES" in os.environ


def examples() -> int:
    return int(os.environ["FUZZ_EXAMPLES"]) if is_long() else BRIEF


def fuzz(*strategies, memory=BYTES, share=1.0):
    """Run a test with many inputs of *strategies*.

    Args:
        strategies: Make its arguments.
        memory: Most bytes that one input may take at a time.
        share: Part of the inputs that other tests get, for a test that is slow.
    """

    def decorate(test):
        name = f"{test.__module__.rpartition('.')[2]}::{test.__name__}"

        @functools.wraps(test)
        def counted(*args, **options):
            EXECUTIONS[name] += 1
            tracemalloc.start()
            began = time.thread_time()
            try:
                test(*args, **options)
                taken, peak = time.thread_time() - began, tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()
            LONGEST[name] = max(taken, LONGEST.get(name, 0.0))
            assert taken < SECONDS
            assert peak < memory

        limits = settings(
            max_examples=max(1, int(examples() * share)),
            deadline=None,
            derandomize=not is_long(),
            suppress_health_check=list(HealthCheck),
        )
        return limits(given(*strategies)(counted))

    return decorate


def summary() -> list[str]:
    """Return a line for each test that ran: how often, and the longest time it took."""
    return [
        f"{count:>9,} inputs, longest {LONGEST.get(name, 0.0) * 1000:7.1f} ms  {name}"
        for name, count in sorted(EXECUTIONS.items())
    ]
