"""Cookies of ours that found no session: counted by reason, each once for the fleet."""

from __future__ import annotations

import logging
from dataclasses import replace
from types import SimpleNamespace

import pytest
from flask import session
from support import fleet_scenes
from support.clock import FakeClock
from support.crew import INTERVAL, Crew

from flask_msm.cluster.distinct import DIGITS, KEPT, Distinct
from flask_msm.cluster.lost_sessions import STEP, STEPS, Reason
from flask_msm.cluster.mode import Mode
from flask_msm.cluster.session_log import MOST_LINES
from flask_msm.errors import NodeValueError
from flask_msm.maintenance import copy_count
from flask_msm.maintenance.copy_count import FIRST, Hashes, counted
from flask_msm.maintenance.lost_watch import LostWatch
from flask_msm.operations.losses import Lost
from flask_msm.operations.state.attention import attention
from flask_msm.operations.state.attention.lost import lost_sessions
from flask_msm.operations.state.verdict import verdict
from flask_msm.record.attributes import NOTHING
from flask_msm.record.record import BEHIND, PARTIAL, Kind, Record
from flask_msm.record.token import Token, TokenSigner, new_sid
from flask_msm.storage.store import Loaded, Outcome


QUARTER = STEP * STEPS


@pytest.fixture
def crew():
    made = Crew(2, nodes=3)
    made.tick()
    return made


def cookie_of(worker, *, age=0.0, signer=None):
    """Return a cookie that is signed well, of a session that nothing has."""
    now = int(worker.clock.time() - age)
    return (signer or TokenSigner((worker.app.secret_key,))).dumps(Token(new_sid(), 1, now))


def ask(worker, cookie):
    """Read the session of *cookie* in a request."""
    with worker.app.test_request_context(headers={"Cookie": f"session={cookie}"}):
        return dict(session)


def lost(crew):
    """Return what the first worker shows of the fleet."""
    crew.tick()
    worker = crew.workers[0]
    worker.console.observer.refresh()
    return worker.console.view().lost


def test_a_cookie_that_finds_nothing_counts_once_however_often_and_wherever_it_is_sent(crew):
    first, second = crew.workers
    cookie = cookie_of(first)
    for worker in (first, second, first):
        assert ask(worker, cookie) == {}

    found = lost(crew)
    assert (found.lost, found.not_found, found.asked >= 1) == (1, 1, True)
    assert not found.too_many


def test_a_session_that_is_lost_is_reported_before_the_next_tick(crew):
    first, second = crew.workers
    waits, put = [], first.cluster.urgent.put
    first.cluster.urgent.put = lambda job, after=0.0: waits.append(after) or put(job)

    ask(first, cookie_of(first))

    assert waits == [INTERVAL / 4]
    second.console.observer.refresh()
    assert second.console.survey().lost.lost == 1


@pytest.mark.parametrize(
    ("phases", "text"),
    [
        (("filling", "up"), "n1 lacks sessions, and is being filled"),
        (("filling", "filling"), "n1 and n2 lack sessions, and are being filled"),
        (("up", "up"), "Their nodes cannot be asked, or hold what cannot be read"),
    ],
)
def test_why_sessions_cannot_be_read_is_said_of_the_nodes_as_they_are(phases, text):
    well = fleet_scenes.all_well()
    nodes = tuple(
        replace(node, phase=phase) for node, phase in zip(well.nodes[:2], phases, strict=True)
    )

    (found,) = lost_sessions(replace(well, nodes=nodes, lost=Lost(lost=40, not_known=40)))

    assert (found.code, found.text) == ("lost_not_known", text)


def test_sessions_that_are_found_are_not_lost(crew):
    (worker, other) = crew.workers
    worker.do(lambda: session.update(name="anna"))
    assert ask(other, worker.cookie()) == {"name": "anna"}

    assert lost(crew).lost == 0


def test_from_the_limit_on_too_many_are_lost(crew):
    first, second = crew.workers
    for number in range(10):
        assert not lost(crew).too_many
        ask((first, second)[number % 2], cookie_of(first))

    found = lost(crew)
    assert (found.lost, found.limit, found.too_many) == (10, 10, True)
    assert found.since is not None


@pytest.mark.parametrize(
    ("way", "cause"),
    [
        ("no node and no host has them", "lost_not_found"),
        ("workers have another secret", "lost_key_unknown"),
    ],
)
def test_one_tick_after_forty_of_sixty_users_were_signed_out_every_page_is_red_and_says_why(
    way, cause
):
    crew = Crew(2, nodes=3, MSM_MIRROR=False)
    crew.tick()
    workers = crew.workers
    cookies = []
    for _ in range(60):
        workers[0].do(lambda: session.update(name="anna"))
        cookies.append(workers[0].cookie())
        workers[0].client.delete_cookie("session")
    if way == "workers have another secret":
        workers = [crew.hire(SECRET_KEY="changed " * 4) for _ in range(2)]
    else:
        for node in crew.nodes.values():
            node.items.clear()
    for number, cookie in enumerate(cookies[:40]):
        assert ask(workers[number % 2], cookie) == {}

    crew.tick(*workers)

    for worker in workers:
        snapshot = worker.console.view()
        first = attention(snapshot)[0]
        assert (verdict(snapshot).level, first.level, first.code) == ("bad", "bad", cause)
        assert first.hurt
        assert first.steps


def test_check_fails_while_sessions_are_lost_and_a_rolling_restart_is_told_of_it(crew):
    worker = crew.workers[0]
    run = worker.app.test_cli_runner().invoke
    before = run(args=["msm", "check"])
    for _ in range(12):
        ask(worker, cookie_of(worker))
    crew.tick()

    alone, rolling = run(args=["msm", "check"]), run(args=["msm", "check", "--all-up"])

    assert (before.exit_code, alone.exit_code, rolling.exit_code) == (0, 1, 0)
    text = "to do: sessions are being lost, 12 in 15 minutes"
    assert (text in before.output, text in alone.output, text in rolling.output) == (0, 1, 1)
    assert "safe to restart" not in alone.output + rolling.output


def test_what_is_lost_is_forgotten_after_a_quarter_of_an_hour(crew):
    ask(crew.workers[0], cookie_of(crew.workers[0]))
    assert lost(crew).lost == 1

    crew.clock.advance(QUARTER)

    assert lost(crew).lost == 0


def test_a_cookie_that_was_not_used_for_too_long_has_expired(crew):
    worker = crew.workers[0]
    life = worker.app.permanent_session_lifetime.total_seconds()
    ask(worker, cookie_of(worker, age=life * 2))

    found = lost(crew)
    assert (found.expired, found.lost) == (1, 0)


def test_a_session_that_was_signed_out_has_ended(crew):
    worker = crew.workers[0]
    worker.do(lambda: session.update(name="anna"))
    cookie = worker.cookie()
    worker.do(lambda: session.clear())

    assert ask(worker, cookie) == {}

    found = lost(crew)
    assert (found.ended, found.lost) == (1, 0)


def test_a_session_whose_nodes_do_not_answer_counts_as_lost(crew):
    first, *_ = crew.workers
    cookie = cookie_of(first)
    crew.outage()
    ask(first, cookie)

    found = first.state.repository.losses.report([])
    assert set(found) == {"not_known", "since"}


@pytest.mark.parametrize("count", [1, 1000])
def test_cookies_that_strangers_forge_are_shown_and_never_lost(crew, count):
    forger = TokenSigner(("another secret",))
    worker = crew.workers[0]
    for _ in range(count):
        ask(worker, cookie_of(worker, signer=forger))

    found = lost(crew)
    assert (found.lost, found.too_many) == (0, False)
    assert count * 0.6 <= found.refused <= count * 1.5


@pytest.mark.parametrize("text", ["x" * 60, "eyJh.eyJi.c" * 6, "a.b.c.d.e" + "x" * 50])
def test_a_cookie_that_was_never_one_of_ours_is_not_counted(crew, text):
    ask(crew.workers[0], text)

    assert lost(crew).refused == 0


def test_a_report_holds_no_id_and_not_the_name_under_which_a_session_is_kept(crew):
    worker = crew.workers[0]
    cookie = cookie_of(worker)
    ask(worker, cookie)

    text = str(worker.state.repository.losses.report(worker.state.repository.meter.asked_for()))
    assert cookie[:20] not in text
    digests = worker.state.repository.losses.report([])["not_found"]["digests"]
    assert len(digests) == DIGITS


def test_each_session_that_was_not_found_is_one_line_and_at_most_sixty_a_minute(crew, caplog):
    worker = crew.workers[0]
    cookie = cookie_of(worker)
    with caplog.at_level(logging.INFO, "flask_msm.sessions"):
        ask(worker, cookie)
        ask(worker, cookie)
        assert len(caplog.records) == 1
        for _ in range(2 * MOST_LINES):
            ask(worker, cookie_of(worker))
        assert len(caplog.records) == MOST_LINES
        crew.clock.advance(60.0)
        lost(crew)

    sid = cookie.split(".")[0]
    assert sid not in caplog.text
    assert f"{MOST_LINES + 1} more sessions" in caplog.records[-1].getMessage()


# -- counting together -----------------------------------------------------------------------


def digests(*numbers):
    return [f"{number:0{DIGITS}x}" for number in numbers]


def test_up_to_sixty_four_the_union_of_several_workers_is_exact():
    first = Distinct.of(digests(*range(40)))
    second = Distinct.of(digests(*range(20, KEPT)))

    assert Distinct.together([first, second]).count == KEPT


def test_above_that_it_is_about_right():
    step = 16**DIGITS // 10_000
    many = [Distinct.of(digests(*range(n * step, 16**DIGITS, 3 * step))) for n in range(3)]

    assert 9_000 < Distinct.together(many).count < 11_000


@pytest.mark.parametrize("text", [None, "", "x" * DIGITS, "0" * (DIGITS + 1), "0" * 10_000])
def test_what_is_odd_in_the_report_of_another_worker_counts_as_nothing(text):
    assert Distinct.read(7, text).count == 0


# -- looked at again -------------------------------------------------------------------------


@pytest.mark.parametrize("forged", [30, 800])
def test_refused_cookies_are_lost_if_nodes_hold_their_sessions_under_an_unknown_key(forged):
    crew = Crew(1, nodes=3)
    crew.tick()
    (before,) = crew.workers
    cookies = []
    for _ in range(12):
        before.do(lambda: session.update(name="anna"))
        cookies.append(before.cookie())
        before.client.delete_cookie("session")
    after = crew.hire(SECRET_KEY="changed " * 4)
    urgent, forger = after.cluster.urgent, TokenSigner(("another secret",))
    urgent.kept = []
    for cookie in [*[cookie_of(after, signer=forger) for _ in range(forged)], *cookies]:
        assert ask(after, cookie) == {}
    urgent.kept = None

    # One look, of many that came between two ticks.
    crew.tick(after)
    found = after.console.view().lost
    assert (found.key_unknown, found.lost, found.too_many) == (12, 12, True)
    assert found.refused >= 30
    # Sent again they are the same sessions.
    ask(after, cookies[0])
    crew.tick(after)
    assert after.console.view().lost == found


def test_a_session_of_which_no_store_knew_is_not_lost_once_it_is_found(crew):
    first, second = crew.workers
    first.do(lambda: session.update(name="anna"))
    for node in crew.nodes.values():
        node.fail()
    assert ask(second, first.cookie()) == {}
    assert second.state.repository.losses.report([])["not_known"]["count"] == 1

    for node in crew.nodes.values():
        node.heal()
    crew.tick()
    crew.tick()
    crew.tick()

    assert "not_known" not in second.state.repository.losses.report([])


@pytest.mark.parametrize(
    ("created", "found"),
    [(1.0, True), (BEHIND + 1.0, True), (PARTIAL, False)],
    ids=["whole", "without its latest changes", "a part alone"],
)
def test_a_session_is_found_unless_a_part_of_it_is_all_there_is(created, found):
    record = Record(Kind.DATA, created, 1.0, 9e9, 1, NOTHING)
    losses = SimpleNamespace(
        open={Reason.REFUSED: {}, Reason.NOT_KNOWN: {"digest": "key"}},
        missing=lambda key: seen.append(("missing", key)),
        settle=lambda reason, digest: seen.append((reason, digest)),
    )
    store = SimpleNamespace(
        mode=SimpleNamespace(mode=Mode.DISTRIBUTED),
        load=lambda key, **_: Loaded(Outcome.FOUND, record, {}),
    )
    seen = []

    LostWatch(losses=losses, store=store, clock=FakeClock(), timeout=1.0).look()

    assert seen == [(Reason.NOT_KNOWN, "digest") if found else ("missing", "key")]


# -- copies ----------------------------------------------------------------------------------


def test_sessions_that_one_node_alone_has_are_counted_by_one_worker(crew):
    worker, other = crew.workers
    keys = []
    for _ in range(6):
        worker.do(lambda: session.update(name="anna"))
        keys.append(worker.key())
        worker.client.delete_cookie("session")
    for key in keys[:2]:
        holder = next(node for node in crew.nodes.values() if key in node.items)
        del holder.items[key]
    crew.clock.advance(FIRST)
    crew.tick()
    lost(crew)

    found = worker.console.view().copies
    assert (found.sessions, found.one_copy, found.about) == (6, 2, False)
    on_nodes = [(one.first, one.further, one.only) for one in found.nodes]
    assert tuple(map(sum, zip(*on_nodes, strict=True))) == (4, 4, 2)
    assert sum(bool(one.cluster.copies.found) for one in (worker, other)) == 1


def test_sessions_are_counted_while_the_first_node_is_full_and_takes_no_lease(crew):
    crew.nodes["n1"].too_much = lambda *_: True
    crew.clock.advance(FIRST)
    crew.tick()

    assert any(worker.cluster.copies.found for worker in crew.workers)


def test_a_node_that_lists_no_keys_leaves_the_number_unknown(crew):
    def refused(*_):
        raise NodeValueError("n2", "no")

    crew.nodes["n2"].list_digests = refused
    crew.clock.advance(FIRST)
    crew.tick()
    lost(crew)

    found = crew.workers[0].console.view().copies
    assert (found.sessions, found.one_copy, found.unlisted) == (None, None, ("n2",))


def test_of_very_many_keys_the_same_part_is_counted_on_every_node(monkeypatch):
    monkeypatch.setattr(copy_count, "MOST", 100)
    both, alone = Hashes(), Hashes()
    for number in range(256 * 4):
        name = f"{number % 256:02x}{number:038x}".encode()
        both.take([name])
        if number < 512:
            alone.take([name])

    assert both.thinned
    found = counted({"n1": both, "n2": alone}, lambda _name: ("n2", "n1"))
    assert found == {
        "sessions": 1024,
        "one_copy": 512,
        "about": True,
        "nodes": {"n1": [0, 512, 512], "n2": [512, 0, 0]},
    }


def test_a_session_that_ends_although_it_is_used_has_expired_and_is_not_lost():
    crew = Crew(2, nodes=3, MSM_ABSOLUTE_TIMEOUT=7200.0, MSM_IDLE_TIMEOUT=3600.0)
    crew.tick()
    worker, other = crew.workers
    worker.do(lambda: session.update(name="anna"))
    for _ in range(3):
        crew.clock.advance(2000.0)
        worker.do(lambda: session.update(again=1))
    crew.clock.advance(1500.0)
    for node in crew.nodes.values():
        for key in [key for key, ttl in node.ttls.items() if (ttl or 1e9) < 1500]:
            node.items.pop(key, None)

    assert ask(other, worker.cookie()) == {}

    found = lost(crew)
    assert (found.expired, found.lost) == (1, 0)
    assert worker.console.lookup(worker.cookie(), actor="anna", reason="").fate == "expired"
