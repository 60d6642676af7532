"""The one door for people: shows the fleet without asking a node, and changes it in their name."""

from __future__ import annotations

import json
import sys
import threading
from dataclasses import fields, is_dataclass

import pytest
from flask import session
from support.apps import make_app, receiving
from support.clock import FakeClock
from support.crew import BY, INTERVAL, ODD, Crew
from support.policies import visit, write

from flask_msm import policy_changed
from flask_msm.cluster.reports import Report
from flask_msm.errors import CommandError, ConflictError
from flask_msm.operations.observer import JOINING, REFRESH
from flask_msm.operations.projection import MOST_EVENTS, CollectedReports
from flask_msm.operations.snapshot import COUNTED, Snapshot


@pytest.fixture
def crew():
    made = Crew(2, MSM_SERIALIZATION_POLICY="blacklist")
    made.tick()
    made.tick()
    return made


def show(worker, reports, *, at=None):
    """Have a worker see *reports* of others, facts by name."""
    observer, now = worker.console.observer, at or worker.clock.now
    found = {name: Report(name, 1, facts) for name, facts in reports.items()}
    for name in found:
        worker.cluster.workers.shared.put(name, b"{}")
    own = observer._own()
    observer.refresh = lambda: CollectedReports(
        now, {**found, **own}, frozenset(found), "fleet", dict.fromkeys(own, now)
    )
    observer.renew()


def facts_of(worker):
    """Return what a worker says of itself, as others read it."""
    cluster = worker.cluster
    return json.loads(json.dumps(cluster.reporter.facts(cluster.monitor.prober.numbers)))


# -- the view ------------------------------------------------------------------------------------


def test_a_check_asks_each_node_once_for_what_workers_share_and_once_for_their_reports(crew, one):
    crew.operations()

    assert one.console.check().all_up

    assert [name for name, _ in crew.operations()] == 2 * len(crew.nodes) * ["get_many"]


def test_a_view_has_nodes_workers_and_how_much_of_them_is_seen(one, other):
    view = one.console.view()

    assert [node.id for node in view.nodes] == ["n1", "n2"]
    assert {worker.id for worker in view.workers} == {one.name, other.name}
    assert (view.observer.workers_seen, view.observer.workers_known) == (2, 2)
    assert view.observer.source == "fleet"
    assert view.observer.complete
    assert view.mode == "distributed"
    assert all(len(node.opinions) == 2 for node in view.nodes)


def test_workers_that_are_not_seen_are_missing_from_what_is_known(one, other):
    one.cluster.workers.shared.put("silent", b'{"at": %d}' % one.clock.now)
    # One that joined later may not have reported yet.
    one.clock.advance(JOINING * INTERVAL + 1)

    view = one.console.view()

    assert (view.observer.workers_seen, view.observer.workers_known) == (2, 3)
    assert not view.observer.complete


def test_looking_asks_for_what_was_gathered_only_and_the_rest_is_done_behind(crew, one):
    one.cluster.urgent.kept = behind = []
    crew.operations()
    for _ in range(5):
        one.console.view()
        crew.clock.advance(3)

    assert {name for name, _ in crew.operations()} == {"gets"}
    thread = threading.Thread(target=behind[0], args=(1e12,))
    thread.start()
    thread.join()
    asked = crew.operations()
    assert {"get_many"} < {name for name, _ in asked}
    assert threading.get_ident() not in {thread for _, thread in asked}


def test_looking_never_waits_for_nodes_that_fail(crew, one):
    crew.outage()
    crew.tick()

    view = one.console.view()

    assert view.mode == "local"
    assert view.observer.source == "host"
    assert {node.state for node in view.nodes} == {"down"}


def test_a_worker_without_ticks_is_not_gone_for_itself():
    class Moving(FakeClock):
        def time(self):
            self.now += 0.001
            return self.now

    worker = make_app(2, clock=Moving(), MSM_PROBE_INTERVAL=0)

    view = worker.state.console.view()

    (seen,) = view.workers
    assert not seen.gone
    assert view.observer.workers_seen == 1
    worker.state.close()


def test_without_nodes_there_is_one_worker_and_its_blacklist():
    worker = make_app(0, MSM_SERIALIZATION_POLICY="blacklist", MSM_BLACKLIST=["pinned"])
    worker.ask(write(cart=threading.Lock()))

    view = worker.state.console.view()

    assert (view.mode, view.nodes) == ("local", ())
    assert {entry.attribute for entry in view.blacklist} == {"cart", "pinned"}
    with pytest.raises(CommandError, match="MSM_NODES is not set"):
        worker.state.console.set_policy("local", **BY)


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
def test_odd_reports_of_others_never_break_the_view(one, other, odd):
    names = (*facts_of(other), "blacklist")
    reports = {
        f"host:{number}": {**facts_of(other), name: odd} for number, name in enumerate(names)
    }
    reports["host:all"] = dict.fromkeys(names, odd)
    reports["host:inner"] = {
        **facts_of(other),
        "nodes": {"n1": dict.fromkeys(("state", "since", "numbers", "latencies", "error"), odd)},
        "traffic": dict.fromkeys(("loads", "saves", "found", "p95", "hits", "operations"), odd),
        "local": dict.fromkeys(("kind", "sessions", "bytes", "dirty"), odd),
        "events": [dict.fromkeys(("id", "at", "level", "kind", "text", "node", "actor"), odd)],
        "blacklist": json.dumps([dict.fromkeys(("attribute", "counts", "last"), "x")]),
    }
    show(one, reports)

    view = one.console.view()

    assert len(view.workers) == len(reports) + 1
    check(view)


def check(thing):
    """Look for texts without bounds, and for numbers that cannot be reckoned with."""
    if is_dataclass(thing):
        for name in fields(thing):
            check(getattr(thing, name.name))
    elif isinstance(thing, tuple):
        for part in thing:
            check(part)
    elif isinstance(thing, str):
        assert len(thing) <= 1000
    elif isinstance(thing, float):
        assert abs(thing) < 1e18


def calls_of(work):
    """Return what *work* returns, and how many functions it called."""
    count = 0

    def note(frame, event, argument):
        nonlocal count
        del frame, argument
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        found = work()
    finally:
        sys.setprofile(before)
    return found, count


def large_fleet(workers):
    """Return a worker that sees 50 nodes and so many others, of which each has much to say."""
    crew = Crew(1, nodes=50)
    crew.tick()
    (one,) = crew.workers
    for number in range(60):
        one.state.parts.events.add("info", "odd", f"something {number}")
        one.state.repository.serialization.blacklist.note(
            f"name {number}", "a.T", path="x", error="E", reason="", endpoint="e", added_by="b"
        )
    reports = {}
    for number in range(workers):
        facts = facts_of(one)
        for row, event in enumerate(facts["events"]):
            event["text"] += f" {number}" if row % 2 else ""
        entries = json.loads(facts["blacklist"])
        for entry in entries:
            entry["counts"] = {f"worker {number}": number + 1}
        reports[f"worker {number}"] = {**facts, "blacklist": json.dumps(entries)}
    show(one, reports)
    return one


def test_a_large_fleet_is_put_together_once_and_costs_no_more_per_worker_than_a_small_one():
    """50 nodes and 200 workers."""
    one = large_fleet(200)

    _, gathered = calls_of(one.console.observer.renew)
    first, read = calls_of(one.console.view)
    again, shown = calls_of(one.console.view)

    assert (len(first.workers), len(first.nodes)) == (201, 50)
    assert len(first.events) == MOST_EVENTS
    assert first.events_total > 5000
    assert len(first.nodes[0].opinions) == 201
    assert again.events == first.events
    assert len(again.blacklist) == 60
    _, of_few = calls_of(large_fleet(50).console.observer.renew)
    assert shown < read / 2
    assert gathered < 5 * of_few


def test_a_view_is_made_anew_when_other_reports_were_gathered(one, other):
    facts = facts_of(other)
    show(one, {other.name: facts})
    before = one.console.view()

    show(one, {other.name: {**facts, "mode": "local", "events": [{"text": "new", "at": 1}]}})
    after = one.console.view()

    assert [w.mode for w in before.workers if w.id == other.name] == ["distributed"]
    assert [w.mode for w in after.workers if w.id == other.name] == ["local"]
    assert "new" in [event.text for event in after.events]


def test_facts_are_at_most_a_second_old(crew, one):
    one.console.view()
    one.do(lambda: session.update(a=1))
    crew.clock.advance(REFRESH)

    assert one.console.view().traffic.misses == 0
    assert sum(one.console.view().traffic.saves.counts) == 1


def test_every_worker_says_what_happened_in_it_since_it_started():
    crew = Crew(2, MSM_SERIALIZATION_POLICY="blacklist", MSM_MIRROR=True)
    one, other = crew.workers
    visit(other, write(cart=threading.Lock()), None)
    other.cluster.mirror.dropped = 3
    crew.tick()
    crew.tick()
    one.console.observer.refresh()

    counts = {worker.id: worker.counts for worker in one.console.view().workers}

    assert counts[other.name]["stored_as_none"] == 1
    assert counts[other.name]["mirror_dropped"] == 3
    assert "mirror_dropped" not in counts[one.name]


def test_every_counter_has_a_meaning_and_nothing_else_is_shown(one, other):
    facts = one.cluster.reporter.facts({})
    counted = [*facts["sessions"], *facts["serialization"], *facts["cluster"]]
    assert sorted(counted) == sorted(COUNTED)

    odd = {"sessions": {"followed": 2, "a name": 7, "detached": -1}, "cluster": [1]}
    show(one, {other.name: odd})

    (shown,) = (w for w in one.console.view().workers if w.id == other.name)
    assert shown.counts == {"followed": 2}


# -- events --------------------------------------------------------------------------------------


def test_events_of_several_workers_within_five_seconds_are_one(crew, one, other):
    for worker in (one, other):
        worker.state.parts.events.add("warning", "node_down", "n1 is down", node="n1")
        crew.clock.advance(1)
    crew.tick()

    (event,) = [event for event in one.console.view().events if event.kind == "node_down"]

    assert set(event.workers) == {one.name, other.name}
    assert event.level == "warning"


def test_an_event_that_happens_again_later_is_another_one(crew, one):
    for _ in range(2):
        one.state.parts.events.add("warning", "node_down", "n1 is down", node="n1")
        crew.clock.advance(6)

    assert len([e for e in one.console.view().events if e.kind == "node_down"]) == 2


def test_every_change_of_an_operator_is_among_the_events_however_often(one):
    ids = {one.console.probe("n1", **BY).event for _ in range(3)}
    ids |= {one.console.note("action_denied", "no", actor="eve").event for _ in range(3)}

    assert len(ids) == 6
    assert ids <= {event.id for event in one.console.view().events}


def test_events_are_bounded_and_newest_first(crew, one):
    for number in range(MOST_EVENTS + 50):
        one.state.parts.events.add("info", "odd", str(number))
        crew.clock.advance(0.01)

    events = one.console.view().events

    assert len(events) == MOST_EVENTS
    assert events[0].text == str(MOST_EVENTS + 49)
    assert [event.at for event in events] == sorted((e.at for e in events), reverse=True)


# -- what was chosen -----------------------------------------------------------------------------


def test_a_choice_is_shown_with_who_and_how_many_obey_it(crew, one):
    one.console.set_policy("local", actor="anna", reason="a test", based_on="0")

    chosen = one.console.view().policy
    assert (chosen.value, chosen.configured, chosen.set_by) == ("local", "blacklist", "anna")
    assert (chosen.reason, chosen.applied_by, chosen.of) == ("a test", 1, 2)
    crew.tick()
    crew.tick()
    assert one.console.view().policy.applied_by == 2


def test_back_to_config_is_shown_as_nobodys_choice(one):
    one.console.set_policy("local", **BY)
    stamp = one.console.view().policy.stamp
    one.console.set_policy(None, actor="ben", reason="", based_on=stamp)

    chosen = one.console.view().policy
    assert (chosen.value, chosen.set_by, chosen.set_at) == ("blacklist", None, None)
    assert int(chosen.stamp) > int(stamp)


def test_a_command_is_based_on_the_value_that_was_shown(crew, one, other):
    view = one.console.view()
    other.console.stop(actor="ben", reason="", based_on=view.distribution.stamp)
    other.console.drain("n1", actor="ben", reason="", based_on=view.nodes[0].stamp, force=True)

    by = {"actor": "anna", "reason": ""}
    with pytest.raises(ConflictError):
        one.console.resume(**by, based_on=view.distribution.stamp)
    with pytest.raises(ConflictError):
        one.console.undrain("n1", **by, based_on=view.nodes[0].stamp)
    assert one.console.view().mode == "stopped"
    assert one.console.view().nodes[0].drain.set_by == "ben"


def test_a_change_by_the_command_line_is_an_event_of_the_workers_that_obey_it(crew, one, other):
    visitor = crew.hire()
    visitor.console.set_policy("local", actor="anna", reason="a release", based_on=None)
    crew.tick()
    crew.tick()

    (event,) = [event for event in one.console.view().events if event.kind == "policy_applied"]

    assert event.text == "policy is local now, by anna (a release)"
    assert set(event.workers) == {one.name, other.name}
    late = crew.hire()
    crew.tick(late)
    assert "policy_applied" not in [e.kind for e in late.state.parts.events.newest()]


def test_every_worker_sends_a_signal_when_it_obeys_another_policy(crew, one, other):
    with receiving(policy_changed) as received:
        one.console.set_policy("local", **BY)
        crew.tick()
        crew.tick()

    assert [sender for sender, _ in received] == [one.app, other.app]
    assert {values["policy"] for _, values in received} == {"local"}


# -- workers -------------------------------------------------------------------------------------


def test_a_worker_that_lives_is_not_forgotten_also_if_it_was_not_seen_yet(one, other):
    with pytest.raises(CommandError, match="lives"):
        one.console.forget_worker(other.name, **BY)
    one.cluster.urgent.takes = False
    one.console.observer._seen = None
    with pytest.raises(CommandError, match="lives"):
        one.console.forget_worker(other.name, **BY)
    with pytest.raises(CommandError, match="there is no worker"):
        one.console.forget_worker("no worker\x1b", **BY)


def test_a_worker_that_is_gone_is_forgotten_at_once(crew, one, other):
    for _ in range(11):
        crew.tick(one)
        one.console.view()
    assert [worker.gone for worker in one.console.view().workers if worker.id == other.name] == [
        True
    ]
    assert one.console.view().observer.workers_known == 1

    one.console.forget_worker(other.name, **BY)

    assert [worker.id for worker in one.console.view().workers] == [one.name]


# -- the blacklist -------------------------------------------------------------------------------


def test_counters_of_workers_are_added_up(crew, one, other):
    for _ in range(3):
        visit(one, write(cart=threading.Lock()), None)
    visit(other, write(cart=threading.Lock()), None)
    crew.tick()
    crew.tick()

    (entry,) = one.console.view().blacklist

    assert (entry.attribute, entry.count) == ("cart", 4)
    assert set(entry.workers) == {one.name, other.name}
    assert entry.added_by == "blacklist"


def test_pins_are_shown_also_if_nothing_was_seen_of_them(one):
    one.console.pin("job", **BY)
    (entry,) = one.console.view().blacklist
    assert (entry.attribute, entry.pinned, entry.count, entry.added_by) == ("job", True, 0, "anna")
    one.console.unpin("job", **BY)
    assert one.console.view().blacklist == ()


def test_a_pin_of_the_configuration_is_not_removed_by_an_operator():
    (worker,) = Crew(1, MSM_BLACKLIST=["job"]).workers

    with pytest.raises(CommandError, match="MSM_BLACKLIST pins 'job'"):
        worker.console.unpin("job", **BY)
    assert worker.console.view().blacklist[0].from_config


# -- notes ---------------------------------------------------------------------------------------

NASTY = "\x1b[2J\nroot: \u202e\ud800" + "x" * 10_000


def test_a_note_is_an_event_and_a_line_that_nobody_can_forge(one, said):
    outcome = one.console.note(NASTY, NASTY, actor=NASTY, reason=NASTY, level=NASTY)

    event = one.console.view().events[0]
    (line,) = said()
    assert event.id == outcome.event
    assert event.level == "info"
    assert line.isprintable()
    assert len(line) < 1200
    check(event)


def test_a_note_says_who_what_and_why(one, said):
    one.console.note("action_denied", "set_policy was refused", actor="eve", reason="may only read")

    assert said() == ["action_denied: set_policy was refused, by eve (may only read)"]


def test_a_snapshot_is_frozen_and_says_when(crew, one):
    view = one.console.view()

    assert isinstance(view, Snapshot)
    assert view.at == crew.clock.now
    with pytest.raises(AttributeError):
        view.mode = "local"
