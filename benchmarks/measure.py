"""Interleaved measuring: every round sends a few requests of each kind to every contender.

Twice, because a worker that serves one application without pause has all it needs in the caches of
the processor, and one that is asked now and then has not. In *turns* a contender is asked a few
times in a row and the first answers do not count; the medians of single requests do. In *blocks* it
is asked a hundred times in a row, and the quickest block counts. What it does behind its responses
is waited for before the next one is asked.
"""

from __future__ import annotations

import gc
import statistics
from array import array
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter, process_time
from typing import TYPE_CHECKING

from scripts.calls import count_waits, files_called

from .nodes import operations


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from harness.memcached import Memcached

    from .visitors import Visitor

#: Requests in a row, and how many of them come too early to count.
RUN, EARLY = 12, 2
#: Rounds that are thrown away first: caches fill, connections open.
WARM_UP = 10
#: Rounds between two garbage collections; none happens inside of a round.
BATCH = 10
#: Requests in a row whose time is taken in one piece, and the fewest of such blocks.
BLOCK, FEWEST_BLOCKS = 100, 8
#: Requests of one kind whose operations are counted, and how often.
COUNTED, COUNTED_BATCHES = 10, 5


@dataclass(frozen=True, slots=True)
class Group:
    """What is measured against each other.

    Attributes:
        name: Of the cell.
        requests: By contender; each takes the request's number and returns seconds.
        settle: By contender; waits for what is done behind the responses.
        seconds: What was measured, by contender.
        processor: Processor time in seconds of a request with what is done behind its response, in
            all threads, by contender; one for each round.
        blocks: Seconds of a request in each block, by contender.
    """

    name: str
    requests: Mapping[str, Callable[[int], float]]
    settle: Mapping[str, Callable[[], object]] = field(default_factory=dict)
    seconds: dict[str, array[float]] = field(default_factory=dict)
    processor: dict[str, array[float]] = field(default_factory=dict)
    blocks: dict[str, array[float]] = field(default_factory=dict)

    def added(self, name: str, base: str) -> list[float]:
        """Return what *name* took longer than *base*, round by round, in microseconds."""
        pairs = zip(self.seconds[name], self.seconds[base], strict=True)
        return [(mine - others) * 1e6 for mine, others in pairs]

    def added_processor(self, name: str, base: str) -> list[float]:
        """Return the processor time that *name* took more than *base*, in microseconds."""
        pairs = zip(self.processor[name], self.processor[base], strict=True)
        return [(mine - others) * 1e6 for mine, others in pairs]

    def added_in_blocks(self, name: str, base: str) -> float:
        """Return what *name* took longer than *base* in the quickest blocks, in microseconds."""
        return (min(self.blocks[name]) - min(self.blocks[base])) * 1e6

    def whole(self, name: str) -> list[float]:
        """Return what *name* took, in microseconds."""
        return [seconds * 1e6 for seconds in self.seconds[name]]


def taking_turns(visitors: Sequence[Visitor]) -> Callable[[int], float]:
    """Return the request of a group that *visitors* send in turn."""
    return lambda number: visitors[number % len(visitors)].request()


def measure(groups: Sequence[Group], requests: int) -> None:
    """Measure at least *requests* requests of each kind, garbage collection aside."""
    rounds = -(-requests // (RUN - EARLY))
    plans = [_orders(list(group.requests)) for group in groups]
    for group in groups:
        group.seconds.update({name: array("d") for name in group.requests})
        group.processor.update({name: array("d") for name in group.requests})
    gc.disable()
    try:
        for number in range(-min(WARM_UP, rounds), rounds):
            if number % BATCH == 0:
                gc.collect()
            for group, plan in zip(groups, plans, strict=True):
                for name in plan[number % len(plan)]:
                    _run(group, name, number)
    finally:
        gc.enable()


def measure_blocks(groups: Sequence[Group], requests: int) -> None:
    """Measure blocks of about *requests* requests of each kind, garbage collection aside."""
    count = max(FEWEST_BLOCKS, requests // BLOCK)
    for group in groups:
        group.blocks.update({name: array("d") for name in group.requests})
    gc.disable()
    try:
        for number in range(count):
            gc.collect()
            for group in groups:
                for name, request in group.requests.items():
                    for place in range(EARLY):
                        request(place)
                    began = perf_counter()
                    for place in range(BLOCK):
                        request(number * BLOCK + place)
                    group.blocks[name].append((perf_counter() - began) / BLOCK)
                    if name in group.settle:
                        group.settle[name]()
    finally:
        gc.enable()


def _run(group: Group, name: str, number: int) -> None:
    request = group.requests[name]
    began = process_time()
    seconds = [request(number * RUN + place) for place in range(RUN)]
    if name in group.settle:
        group.settle[name]()
    if number >= 0:
        group.processor[name].append((process_time() - began) / RUN)
        group.seconds[name].extend(seconds[EARLY:])


def count_operations(group: Group, nodes: Sequence[Memcached]) -> dict[str, dict[str, float]]:
    """Return the operations of one request by contender and kind, as the nodes counted them.

    Background work that happens to come in between is not a request's: the least count stands.
    """
    counted = {}
    for name, request in group.requests.items():
        settle = group.settle.get(name, int)
        batches = [_count(request, settle, nodes) for _ in range(COUNTED_BATCHES)]
        counted[name] = {kind: min(batch[kind] for batch in batches) for kind in batches[0]}
    return counted


def count_calls(group: Group) -> dict[str, int]:
    """Return how many Python functions one request calls, by contender.

    Those of this thread only, ours and the libraries', Flask and its test client included: the
    least of some requests, without what happens at every so-many-th.
    """
    return {
        name: min(len(files_called(partial(request, number))) for number in range(COUNTED))
        for name, request in group.requests.items()
    }


def count_round_trips(group: Group) -> dict[str, int]:
    """Return how often one request waits for replies, by contender: the median of some requests."""
    return {
        name: statistics.median_high(
            count_waits(partial(request, number)) for number in range(COUNTED)
        )
        for name, request in group.requests.items()
    }


def _count(
    request: Callable[[int], float], settle: Callable[[], object], nodes: Sequence[Memcached]
) -> dict[str, float]:
    before = operations(nodes)
    for number in range(COUNTED):
        request(number)
    settle()
    after = operations(nodes)
    return {kind: (after[kind] - before[kind]) / COUNTED for kind in after}


def quartiles(numbers: Sequence[float]) -> tuple[float, float, float]:
    """Return the lower quartile, the median and the upper quartile."""
    if len(numbers) < 2:
        return numbers[0], numbers[0], numbers[0]
    low, middle, high = statistics.quantiles(numbers, n=4, method="inclusive")
    return low, middle, high


def _orders(names: list[str]) -> list[list[str]]:
    """Return orders in which each name comes equally often in each place and behind each other.

    Who comes behind whom matters: processors cache, and a memcached that was just asked is awake.
    Source: E. J. Williams, "Experimental designs balanced for the estimation of residual effects
    of treatments", 1949.
    """
    size = len(names)
    first = [(place + 1) // 2 if place % 2 else -place // 2 for place in range(size)]
    orders = [[names[(index + shift) % size] for index in first] for shift in range(size)]
    return orders if size % 2 == 0 else orders + [order[::-1] for order in orders]
