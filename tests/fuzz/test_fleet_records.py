"""Records that workers share: control state, heartbeats, reports, blacklists."""

from __future__ import annotations

import json

from hypothesis import strategies as st
from support.clock import FakeClock
from support.crew import ODD, Crew, sealed
from support.fuzzing import fuzz
from support.mutation import mutated
from support.sealing import KEYS as PLAIN
from support.sealing import SECRETS, encryption

from flask_msm.cluster.control import KEY_SUFFIX, Control
from flask_msm.cluster.ended_sessions import EndedSessions
from flask_msm.cluster.reports import Report, Reports
from flask_msm.cluster.shared_map import SharedMap, shared_envelope
from flask_msm.cluster.workers import WorkerRegistry
from flask_msm.record.attributes import NOTHING
from flask_msm.record.hybrid_clock import HybridLogicalClock
from flask_msm.record.keys import keyring
from flask_msm.sessions.blacklist import MAX_ENTRIES, Blacklist


KEYS = keyring(("test",))
KEY = "msm:shop:" + KEY_SUFFIX
CLOCK = FakeClock()
NODES = ("n1", "n2")
FACTS = (
    *("known:n1", "missed:n1", "rebuilt:n2", "drain:n1", "drain:n2", "lost:n1"),
    *("choice:policy", "choice:on_reconnect", "choice:distribution", "choice:other"),
    *("choice:pin:cart", "choice:pin:", "choice:clear:cart", "choice:clear:"),
    "a" * 40,  # as a session is called that ended
)
NAMES = ("by", "who", "why", "value", "at", "layout", "counts", "first", "last", "type")


def objects(inner):
    return st.dictionaries(st.text(max_size=6), inner, max_size=4)


plain_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | objects(inner),
    max_leaves=9,
)
known_words = st.sampled_from(
    ["draining", "drained", "stopped", "blacklist", "pinned", 1e400, -1, 10**400, "n1", "\ud800"]
)
facts = st.dictionaries(st.sampled_from(NAMES), plain_json | known_words, max_size=6)
stamps = st.integers(-(2**63), 2**63 - 1) | st.integers(0, 2**62)
raw = st.binary(max_size=60) | (facts | plain_json).map(lambda value: json.dumps(value).encode())
entries = st.dictionaries(
    st.sampled_from(FACTS) | st.text(max_size=12) | st.text(st.characters(), max_size=40),
    st.tuples(stamps, st.none() | raw),
    max_size=6,
)


def shared_map(*secrets):
    an_envelope = shared_envelope(lambda: PLAIN, encryption(*secrets) if secrets else None)
    return SharedMap(KEY, envelope=an_envelope, stamps=HybridLogicalClock(CLOCK, 1), clock=CLOCK)


def live_with(shared):
    """Use a map as a worker does with every tick."""
    control = Control(shared, worker=lambda: "w1")
    for node in NODES:
        control.standing(node)
        control.drain(node)
    assert set(control.drains().values()) <= {"draining", "drained"}
    for choice in [control.choice("policy"), *control.choices("").values()]:
        assert choice.value is None or isinstance(choice.value, str)
    control.lost()
    control.note_found({"n1": True, "n2": False}, {"n1": "a" * 32})
    heartbeat = WorkerRegistry(
        shared,
        worker=lambda: "w1",
        nodes=NODES,
        replicas=2,
        reads=list,
        interval=2.0,
        clock=CLOCK,
    )
    heartbeat.layouts_differ()
    heartbeat.names()
    heartbeat.is_read_elsewhere({"format:1"})
    heartbeat.announce()
    heartbeat.leave()
    shared.sealed()
    endings = EndedSessions(shared)
    for name, stamp, _ in endings.fresh():
        LOCAL.bury(name, stamp)
    endings.share()


CREW = Crew(1)
LOCAL = CREW.workers[0].state.parts.local
OWN = shared_map()
OWN.put("drain:n1", b'{"value": "drained"}')
WRITTEN = [OWN.sealed(), sealed(KEY, {"known:n1": (5, b"{}")}, keys=KEYS)]


@fuzz(st.binary(max_size=400) | mutated(st.sampled_from(WRITTEN)), st.booleans())
def test_a_map_that_was_not_signed_here_teaches_nothing(data, encrypts):
    shared = shared_map(SECRETS[0]) if encrypts else shared_map()
    before = shared.attributes

    if data not in WRITTEN:
        assert shared.absorb(data) is None
        assert shared.attributes == before


@fuzz(entries, share=0.5)
def test_a_signed_map_of_any_entries_can_be_lived_with(found):
    shared = shared_map()

    shared.absorb(sealed(KEY, found, keys=KEYS))

    live_with(shared)


REPORTS: Reports = CREW.workers[0].cluster.reporter.reports
REPORT = REPORTS.seal("w2", {"mode": "distributed", "nodes": [1, 2]})


@fuzz(st.binary(max_size=400) | mutated(st.just(REPORT)))
def test_a_report_that_was_not_signed_here_is_none(data):
    assert REPORTS.open("w2", data) is None or data == REPORT


@fuzz(st.tuples(stamps, st.none() | raw), st.sampled_from(["report", "other"]))
def test_a_signed_report_of_anything_is_one_or_none(entry, name):
    report = REPORTS.open("w2", sealed(REPORTS.key("w2"), {name: entry}, keys=KEYS))

    assert report is None or (isinstance(report, Report) and isinstance(report.facts, dict))


CREW.tick()
OWN_FACTS = REPORTS.collect(CREW.workers[0].cluster.workers.names(), 1e12)
FACT_NAMES = sorted({name for report in OWN_FACTS.values() for name in report.facts})
assert len(FACT_NAMES) > 10
odd_facts = st.dictionaries(
    st.sampled_from(FACT_NAMES) | st.text(max_size=6),
    st.sampled_from([*ODD.values(), "up", "distributed", 1e308]) | plain_json,
    max_size=8,
)


@fuzz(odd_facts, share=0.15)
def test_the_fleet_is_shown_for_any_content_of_a_report(report):
    worker = CREW.workers[0]
    now = CREW.clock.now
    worker.cluster.workers.shared.put("w2", json.dumps({"at": now}).encode())
    stamp = HybridLogicalClock(CREW.clock, 3).next()
    key = REPORTS.key("w2")
    body = json.dumps(report).encode()
    CREW.put(key, sealed(key, {"report": (stamp, body)}, stamp=stamp, keys=KEYS))
    CREW.tick()
    worker.console.look()

    assert worker.console.view() is not None


@fuzz(entries, share=0.25)
def test_any_signed_control_state_is_obeyed_and_shown(found):
    worker = CREW.workers[0]
    control = worker.cluster.control.shared
    control.record = control.record._replace(attributes=NOTHING, version=0)
    control.absorb(sealed(control.key, found, keys=KEYS))

    worker.cluster.overrides.apply()

    assert worker.state.repository.serialization.policy.name
    assert worker.console.view() is not None


@fuzz(raw | st.lists(facts, max_size=5).map(lambda found: json.dumps(found).encode()))
def test_any_blacklist_is_merged_within_bounds(data):
    blacklist = Blacklist(CLOCK, lambda: "w1")

    blacklist.merge(data)

    assert len(blacklist) <= MAX_ENTRIES
    blacklist.to_json()
