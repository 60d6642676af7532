"""Reports become one snapshot: pure, and an odd report breaks nothing."""

from __future__ import annotations

import pytest
from support.apps import make_app
from support.clock import FakeClock
from support.crew import ODD

from flask_msm.cluster.facts import Facts
from flask_msm.cluster.reports import Report
from flask_msm.operations.cli_fleet import status_lines
from flask_msm.operations.projection import CollectedReports, SnapshotBuilder


NOW = FakeClock().now
INTERVAL = 2.0
#: The policy was never chosen, chosen, or the choice was taken back.
NEVER, CHOSEN, TAKEN_BACK = (), ("local",), ("local", None)


@pytest.fixture
def shop():
    shop = make_app(2, MSM_PROBE_INTERVAL=INTERVAL)
    yield shop
    shop.state.close()


@pytest.fixture
def picture(shop):
    parts = shop.state.parts
    builder = SnapshotBuilder(parts, shop.state.settings, app_name="shop", clock=FakeClock())

    def picture(reports, *, known=None, source="fleet", heard=None, delay=0.0):
        found = {name: Report(name, 1, facts) for name, facts in reports.items()}
        known = frozenset(reports if known is None else known)
        seen = CollectedReports(NOW, found, known, source, heard or {})
        return builder.snapshot(seen, parts.cluster, delay=delay)

    return picture


@pytest.fixture
def choose(shop):
    def choose(*values):
        """Choose one policy after the other; return the last stamp."""
        control = shop.state.parts.cluster.control
        return max([control.choose("policy", v, who="anna", why="") for v in values], default=0)

    return choose


def saying(at=NOW, **facts):
    return {"at": at, "mode": "distributed", **facts}


def node(state, *, trusted=True, at=None):
    facts = {"state": state, "trusted": trusted}
    return facts if at is None else {**facts, "numbers": {"at": at, "items": int(at)}}


def status(worker):
    return "gone" if worker.gone else "stale" if worker.stale else "live"


# -- workers -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("age", "found"),
    [(0, "live"), (5.9, "live"), (6.1, "stale"), (19.9, "stale"), (20.1, "gone"), (1e9, "gone")],
)
def test_a_worker_is_stale_after_three_intervals_and_gone_after_ten(picture, age, found):
    (worker,) = picture({"a": saying(NOW - age)}).workers

    assert status(worker) == found


@pytest.mark.parametrize(("age", "found"), [(6.1, "live"), (8.1, "stale"), (22.1, "gone")])
def test_how_long_ago_reports_were_gathered_is_no_silence_of_a_worker(picture, age, found):
    (worker,) = picture({"a": saying(NOW - age)}, delay=2.0).workers

    assert status(worker) == found


def test_the_time_of_the_observer_counts_more_than_the_clock_of_a_worker(picture):
    (worker,) = picture({"a": saying(NOW - 1e6)}, heard={"a": NOW - 1}).workers

    assert (status(worker), worker.last_heard) == ("live", NOW - 1)


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
def test_a_worker_that_says_no_time_is_not_called_live_for_it(picture, odd):
    if odd not in (7, 10**30):
        (worker,) = picture({"a": {"at": odd}}).workers

        assert status(worker) == "gone"


def test_modes_are_counted_over_live_workers(picture):
    view = picture(
        {
            "a": saying(),
            "b": saying(mode="local"),
            "c": saying(mode="quantum"),
            "d": saying(NOW - 7, mode="stopped"),
        }
    )

    assert dict(status_lines(view)[0])["workers"] == "1 distributed, 1 local"


@pytest.mark.parametrize(
    ("source", "known", "complete"),
    [("fleet", "a", True), ("fleet", "ab", False), ("host", "a", False), ("self", "a", False)],
)
def test_the_picture_has_how_much_of_the_fleet_is_seen(picture, source, known, complete):
    assert picture({"a": saying()}, known=known, source=source).observer.complete is complete


def test_a_session_in_a_folder_of_a_host_is_counted_once_for_all_its_workers(picture):
    def keeping(dirty, kind="filesystem", **facts):
        return saying(mode="local", local={"kind": kind, "dirty": dirty}, **facts)

    view = picture(
        {
            "a": keeping(2, host="one"),
            "b": keeping(3, host="one"),
            "c": keeping(4, host="other"),
            "d": keeping(10, "simple", host="one"),
            "e": keeping(20, "simple", host="one"),
            "f": keeping(100),
        }
    )

    assert dict(status_lines(view)[0])["kept on hosts"].startswith("137 sessions")


def test_hosts_with_room_for_fewer_sessions_than_they_may_keep_are_shown(picture):
    def keeping(size, kind="filesystem", **facts):
        local = {"kind": kind, "limit_sessions": 50_000, "limit_bytes": size}
        return saying(local=local, **facts)

    view = picture(
        {
            "a": keeping(16 * 2**20, host="one"),
            "b": keeping(16 * 2**20, host="one"),
            "c": keeping(256 * 2**20, host="other"),
            "d": keeping(2**20, "simple", host="third"),
        }
    )

    rooms = [text for name, text in status_lines(view)[0] if name == "room on hosts"]
    assert len(rooms) == 1
    assert rooms[0].startswith("4,096 sessions at most on one: 16 MB, and each takes 4 kB at least")


# -- what was chosen -----------------------------------------------------------------------------


def test_who_applied_a_choice_is_counted_over_live_workers(picture, choose):
    stamp = choose(*CHOSEN)
    view = picture(
        {
            "a": saying(control=str(stamp)),
            "b": saying(control=str(stamp + 1)),
            "c": saying(control=str(stamp - 1)),
            "d": saying(),
            "e": saying(NOW - 7, control=str(stamp)),
        }
    )

    assert (view.policy.value, view.policy.configured) == ("local", "raise")
    assert (view.policy.applied_by, view.policy.of) == (2, 4)


@pytest.mark.parametrize("odd", [*ODD.values(), "9" * 30, "-5", "1e9", "\u0665"])
def test_a_stamp_that_is_none_applied_nothing(picture, choose, odd):
    choose(*CHOSEN)

    assert picture({"a": saying(control=odd)}).policy.applied_by == 0


def test_a_setting_without_an_override_is_applied_by_all_workers(picture):
    policy = picture({"a": saying(), "b": saying()}).policy

    assert (policy.value, policy.applied_by, policy.of) == ("raise", 2, 2)


def test_a_choice_that_was_taken_back_leaves_the_configuration(picture, choose):
    stamp = choose(*TAKEN_BACK)
    policy = picture({"a": saying(control=str(stamp - 1))}).policy

    assert (policy.value, policy.applied_by) == ("raise", 0)


# -- nodes ---------------------------------------------------------------------------------------


def test_a_node_is_what_most_see_and_trusted_only_by_all(picture):
    view = picture(
        {
            "a": saying(nodes={"n1": node("up")}),
            "b": saying(nodes={"n1": node("up", trusted=False)}),
            "c": saying(nodes={"n1": node("down")}),
        }
    )

    seen, other = view.nodes
    assert (seen.state, seen.trusted, len(seen.opinions)) == ("up", False, 3)
    assert (other.state, other.trusted) == (None, None)
    lines = dict(status_lines(view)[0])
    assert lines["n1"] == "up, up for 2 of 3 workers"
    assert lines["n2"] == "not seen yet, up for 0 of 3 workers"


def test_statistics_are_those_read_last(picture):
    view = picture(
        {
            "a": saying(nodes={"n1": node("up", at=NOW - 5)}),
            "b": saying(nodes={"n1": node("up", at=NOW - 1)}),
            "c": saying(nodes={"n1": node("up")}),
        }
    )

    assert view.nodes[0].stats.at == NOW - 1
    assert view.nodes[1].stats is None


def test_without_any_worker_nothing_is_known(picture):
    view = picture({})

    assert [seen.state for seen in view.nodes] == [None, None]
    assert not any(seen.trusted for seen in view.nodes)
    assert view.policy.of == 0


# -- facts of a wrong type -----------------------------------------------------------------------

NAMES = ("at", "mode", "control", "nodes", "events", "local", "traffic", "rebuild", "blacklist")


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
def test_odd_facts_break_nothing(picture, odd):
    reports = {name: {**saying(), name: odd} for name in NAMES}

    view = picture({**reports, "b": saying()})

    assert len(view.workers) == len(NAMES) + 1


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
def test_facts_come_out_with_the_type_they_must_have_and_bounded(odd):
    fields = Facts({"x": odd})

    assert isinstance(fields.number("x"), int | float | None)
    assert fields.number("x") is None or abs(fields.number("x")) < 1e18
    assert fields.integer("x") is None or type(fields.integer("x")) is int
    assert fields.text("x") is None or len(fields.text("x")) <= 1000
    assert fields.boolean("x") is (odd is True)
    assert len(fields.series("x")) <= 200
    assert all(isinstance(row, Facts) for row in fields.rows("x"))
    assert all(isinstance(row, list) for row in fields.rows_of_numbers("x"))
    assert all(isinstance(name, str) for name in fields.section("x").names())


def test_keys_that_are_no_text_have_no_name():
    assert Facts({1: 2, None: 3, "a": 4}).names() == ["a"]
