"""Several workers over nodes in memory: ticked by hand, with one clock, and a console each."""

from __future__ import annotations

import json
import threading

from support.apps import SECRET, make_app
from support.clock import FakeClock
from support.fake_node import FakeNode
from support.policies import SharedNodes

from flask_msm.cluster.shared_map import shared_envelope
from flask_msm.record.attributes import Attributes
from flask_msm.record.keys import keyring
from flask_msm.record.record import Kind, Record


INTERVAL = 2.0
KEYS = keyring((SECRET,))
BY = {"actor": "anna", "reason": "a test", "based_on": None}


class CountingNode(FakeNode):
    """A node that takes note of every operation, and of the thread that asked for it."""

    def __init__(self, node_id) -> None:
        super().__init__(node_id)
        self.asked = []

    def _exchange(self, name, key, act):
        self.asked.append((name, threading.get_ident()))
        return super()._exchange(name, key, act)

    def stats(self, deadline, *arguments):
        self.asked.append(("stats", threading.get_ident()))
        return super().stats(deadline, *arguments)

    def metadump(self, prefix, deadline):
        self.asked.append(("metadump", threading.get_ident()))
        return super().metadump(prefix, deadline)

    def look(self, whole, tokens, deadline, *, beats):
        before = len(self.asked)
        try:
            return super().look(whole, tokens, deadline, beats=beats)
        finally:
            self.asked[before:] = [("look", threading.get_ident())]

    def get_many(self, keys, deadline):
        before = len(self.asked)
        try:
            return super().get_many(keys, deadline)
        finally:
            self.asked[before:] = [("get_many", threading.get_ident())]


class Crew:
    """Workers of one application.

    Args:
        count: How many.
        nodes: How many nodes they share.
    """

    def __init__(self, count=2, nodes=2, **config) -> None:
        self.clock = FakeClock()
        self.nodes = {}
        self._hired = 0
        self._config = {"nodes": nodes, "MSM_PROBE_INTERVAL": INTERVAL, **config}
        self.workers = [self.hire() for _ in range(count)]

    def hire(self, *, clock=None, listener=None, **config):
        """Return one more worker."""
        for number in range(1, self._config["nodes"] + 1):
            self.nodes.setdefault(f"n{number}", CountingNode(f"n{number}"))
        clock = clock or self.clock
        self._hired += 1
        name = f"process {self._hired}"
        # What is behind a request is done at once, and no thread is left over.
        brought = {"queue": AtOnce, "worker": lambda: name, "rest": lambda _: None}
        if listener is not None:
            brought["listener"] = listener
        manager = SharedNodes(self.nodes, clock=clock, brought=brought)
        worker = make_app(clock=clock, manager=manager, **self._config, **config)
        worker.cluster = worker.state.parts.cluster
        worker.console = worker.state.console
        worker.cluster.runtime = Begun()
        worker.name = name
        return worker

    def tick(self, *workers) -> None:
        """Let time pass and every worker do what it does now and then."""
        for worker in workers or self.workers:
            worker.cluster.monitor.tick()
        for clock in {id(w.clock): w.clock for w in workers or self.workers}.values():
            clock.advance(INTERVAL)

    def operations(self) -> list[tuple[str, int]]:
        """Return what all nodes were asked since the last call, and by which thread."""
        asked = [entry for node in self.nodes.values() for entry in node.asked]
        for node in self.nodes.values():
            node.asked.clear()
        return asked

    def outage(self) -> None:
        for node in self.nodes.values():
            node.fail()

    def put(self, key, data) -> None:
        """Store *data* under *key* in all nodes, as another program would."""
        for node in self.nodes.values():
            node.put(key, data)


class Begun:
    """A process that has begun, and whose ticks are those of the test."""

    begun = True

    def on_load(self) -> None:
        pass

    def begin_behind(self) -> None:
        pass

    def stop(self) -> None:
        pass


class AtOnce:
    """A queue without a thread: what is put there is done at once, unless a test says otherwise.

    Attributes:
        kept: Where jobs are kept instead, if anywhere.
        takes: Whether it takes any.
    """

    def __init__(self, *_, **__) -> None:
        self.kept, self.takes = None, True

    def put(self, job, *, after=0.0) -> bool:
        if not self.takes:
            return False
        if self.kept is None:
            job(1e12)
        else:
            self.kept.append(job)
        return True

    def flush(self, timeout) -> bool:
        return True

    def refuse(self) -> None:
        self.takes = False

    def close(self) -> None:
        pass


def sealed(key, entries, *, stamp=1, keys=KEYS):
    """Return a record of the fleet as another worker would have written it."""
    envelope = shared_envelope(lambda: keys)
    now = FakeClock().now
    attributes = Attributes(entries, {}, 0)
    return envelope.seal(Record(Kind.DATA, now, now, now + 1e6, stamp, attributes), key)


def report_of(reports, worker, facts, *, stamp=1 << 58, keys=KEYS):
    """Return a report that says *facts* as they are."""
    body = facts if isinstance(facts, bytes) else json.dumps(facts).encode()
    return sealed(reports.key(worker), {"report": (stamp, body)}, stamp=stamp, keys=keys)


ODD = {
    "nothing": None,
    "a text": "text",
    "a long text": "x" * 20_000,
    "control characters": "\x1b[31m\r\n\0",
    "half a character": "\ud800",
    "a negative number": -1,
    "a huge number": 10**30,
    "infinite": float("inf"),
    "not a number": float("nan"),
    "a list": [1, "two", None, {}],
    "a map": {"n1": "up", "at": "now"},
    "a map of maps": {"n1": {"state": ["up"], "numbers": 3, "since": "x"}},
}
