"""What each worker reports about itself for people to look at: one bounded, signed page of JSON.

The list of workers (``workers.py``) names the reports that exist, so no keys are scanned. A
report is kept on two nodes and on the host, and is believed only if its signature is right.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NamedTuple

from flask_msm.errors import NodeError, RecordError
from flask_msm.memcached.wire import ttl_for
from flask_msm.record.attributes import Attributes
from flask_msm.record.hybrid_clock import stamp_at
from flask_msm.record.record import Kind, Record


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from flask_msm.record.hybrid_clock import HybridLogicalClock

    from .common_nodes import CommonNodes


#: Larger reports are not read; own ones are cut to it.
MAX_SIZE = 64 * 1024
#: Largest body, so that header, signature and name fit as well.
MAX_BODY = MAX_SIZE - 1024
#: So many items are left of lists, and texts of so many characters, when a report is too long.
KEPT, LONG = 10, 1000
#: What is left of a node in the longest reports.
STATES = "state", "trusted", "since", "error"
#: A worker that was last seen so long ago is not shown any more, seconds.
LIFE = 3600.0
#: A report that is older may have a newer one elsewhere, seconds.
EXPECTED = 10.0
#: Reports are kept on so many nodes.
COPIES = 2
_NAME = "report"


class Report(NamedTuple):
    """What a worker reported.

    Attributes:
        stamp: When it did, as a stamp: of two reports the higher one counts.
        facts: Its content. It comes from the network: any part may be missing or odd.
    """

    worker: str
    stamp: int
    facts: dict[str, Any]


@dataclass(eq=False)
class Reports:
    """Seals, opens, publishes and collects reports.

    Args:
        stamps: Issues stamps.

    Attributes:
        refused: How many reports were forged, too large, or not to be understood.
    """

    common: CommonNodes
    stamps: HybridLogicalClock

    def __post_init__(self) -> None:
        self.refused = 0

    def key(self, worker: str) -> str:
        """Return where the report of *worker* is kept."""
        return self.common.prefix + note_name(worker)

    def seal(self, worker: str, facts: dict[str, Any]) -> bytes:
        """Return a report as bytes; what makes it too long is left out."""
        stamp, now = self.stamps.next(), self.common.clock.time()
        body = _fitting(facts)
        attributes = Attributes({_NAME: (stamp, body)}, {}, 0)
        record = Record(Kind.DATA, now, now, now + LIFE, stamp, attributes)
        return self.common.envelope.seal(record, self.key(worker))

    def open(self, worker: str, data: bytes) -> Report | None:
        """Return the report in *data*; ``None`` for anything that is not a report of *worker*."""
        try:
            record = self.common.envelope.open(data[: MAX_SIZE + 1], self.key(worker))
            facts = json.loads(record.attributes.entries[_NAME][1] or b"")
        except (RecordError, KeyError, ValueError, RecursionError):
            facts = None
            record = None
        if record is None or not isinstance(facts, dict):
            self.refused += 1
            return None
        return Report(worker, record.version, facts)

    def publish(self, worker: str, data: bytes, deadline: float) -> None:
        """Bring a sealed report to its nodes, as far as they answer."""
        key = self.key(worker)
        ttl = ttl_for(self.common.clock.time() + LIFE, self.common.clock.time())
        kept = 0
        for node_id in self.common.placement.rank(key):
            if kept >= COPIES:
                return
            if not self.common.usable(node_id):
                continue
            node = self.common.nodes[node_id]
            try:
                item = node.start_gets(key, deadline).result()
                if item is None:
                    kept += node.start_add(key, data, ttl, deadline).result()
                else:
                    kept += bool(node.start_cas(key, data, ttl, item.token, deadline).result())
            except NodeError:
                continue

    def collect(self, workers: Iterable[str], deadline: float) -> dict[str, Report]:
        """Return the newest report of each of *workers* that a node has.

        The nodes are asked on which it belongs, then all others for what these do not have, or not
        of late: it goes there while its worker cannot reach one of them.
        """
        usable = [node_id for node_id in self.common.nodes if self.common.usable(node_id)]
        names = {self.key(worker): worker for worker in workers}
        asked: dict[str, list[str]] = {node_id: [] for node_id in usable}
        for key in names:
            for node_id in self.common.placement.first(COPIES, key, asked.__contains__):
                asked[node_id].append(key)
        found: dict[str, Report] = {}
        self._collect(asked, names, found, deadline)
        late = stamp_at(self.common.clock.time() - EXPECTED)
        missing = [
            key
            for key, worker in names.items()
            if worker not in found or found[worker].stamp < late
        ]
        if missing:
            others = {
                node_id: [key for key in missing if key not in keys]
                for node_id, keys in asked.items()
            }
            self._collect(others, names, found, deadline)
        return found

    def _collect(
        self,
        asked: Mapping[str, list[str]],
        names: Mapping[str, str],
        found: dict[str, Report],
        deadline: float,
    ) -> None:
        for node_id, keys in asked.items():
            if not keys:
                continue
            try:
                items = self.common.nodes[node_id].get_many(keys, deadline)
            except NodeError:
                continue
            for key, item in items.items():
                report = self.open(names[key], item.value)
                if report and (
                    report.worker not in found or report.stamp > found[report.worker].stamp
                ):
                    found[report.worker] = report


def _fitting(facts: dict[str, Any]) -> bytes:
    """Return *facts* as JSON that is not too long: what grows with what happened goes first."""
    body = _json(facts)
    for shorten in (
        _without_histories,
        _newest_only,
        _without_lists,
        _without_long_texts,
        _states_only,
        _simple_only,
    ):
        if len(body) <= MAX_BODY:
            break
        facts = {**shorten(facts), "cut": True}
        body = _json(facts)
    return body


def _json(facts: dict[str, Any]) -> bytes:
    return json.dumps(facts, ensure_ascii=True, separators=(",", ":")).encode()


def _without_histories(facts: dict[str, Any]) -> dict[str, Any]:
    """Leave the lists of each node out: what it is like now stays."""
    return _with_nodes(
        facts, lambda node: {name: fact for name, fact in node.items() if type(fact) is not list}
    )


def _states_only(facts: dict[str, Any]) -> dict[str, Any]:
    """Leave all other tables out, and of each node all but whether it is up."""
    nodes = _with_nodes(
        facts, lambda node: {name: node[name] for name in STATES if name in node}
    ).get("nodes")
    simple = _simple_only(facts)
    return simple if nodes is None else {**simple, "nodes": nodes}


def _with_nodes(
    facts: dict[str, Any], shorten: Callable[[dict[str, Any]], dict[str, Any]]
) -> dict[str, Any]:
    nodes = facts.get("nodes")
    if not isinstance(nodes, dict):
        return facts
    short = {
        node_id: shorten(node) if isinstance(node, dict) else node
        for node_id, node in nodes.items()
    }
    return {**facts, "nodes": short}


def _newest_only(facts: dict[str, Any]) -> dict[str, Any]:
    return {name: fact[:KEPT] if isinstance(fact, list) else fact for name, fact in facts.items()}


def _without_lists(facts: dict[str, Any]) -> dict[str, Any]:
    return {name: fact for name, fact in facts.items() if not isinstance(fact, list)}


def _without_long_texts(facts: dict[str, Any]) -> dict[str, Any]:
    return {
        name: fact for name, fact in facts.items() if not isinstance(fact, str) or len(fact) <= LONG
    }


def _simple_only(facts: dict[str, Any]) -> dict[str, Any]:
    return {name: fact for name, fact in facts.items() if not isinstance(fact, dict)}


def note_name(worker: str) -> str:
    """Return the name under which the report of *worker* is kept on nodes and on its host."""
    return "fleet:worker:" + blake2b(worker.encode(), digest_size=8).hexdigest()
