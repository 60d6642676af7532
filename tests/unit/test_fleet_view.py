"""One picture of all reports: pure, and an odd report breaks nothing."""

from __future__ import annotations

import pytest
from support.crew import ODD

from flask_msm.cluster.control import Choice
from flask_msm.cluster.reports import Report
from flask_msm.operations.cli_fleet import status_lines
from flask_msm.operations.observer import CollectedReports
from flask_msm.operations.report_reader import ReportFields, fleet_view


NOW = 1_800_000_000.0
INTERVAL = 2.0


def picture(said, *, choice=Choice(), known=None, source="fleet", heard=None, me=None, **more):
    reports = {name: Report(name, 1, facts) for name, facts in said.items()}
    known = frozenset(said if known is None else known)
    return fleet_view(
        CollectedReports(NOW, reports, known, source, heard or {}),
        now=NOW,
        interval=INTERVAL,
        node_ids=("n1", "n2"),
        choice=lambda name: choice,
        configured={"policy": "raise"},
        me=me,
        **more,
    )


def saying(at=NOW, **facts):
    return {"at": at, "mode": "distributed", **facts}


def node(state, *, trusted=True, at=None):
    facts = {"state": state, "trusted": trusted}
    return facts if at is None else {**facts, "numbers": {"at": at, "items": int(at)}}


# -- workers -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("age", "status"),
    [(0, "live"), (5.9, "live"), (6.1, "stale"), (19.9, "stale"), (20.1, "gone"), (1e9, "gone")],
)
def test_a_worker_is_stale_after_three_intervals_and_gone_after_ten(age, status):
    (worker,) = picture({"a": saying(NOW - age)}).workers

    assert worker.status == status


@pytest.mark.parametrize(("age", "status"), [(6.1, "live"), (8.1, "stale"), (22.1, "gone")])
def test_how_long_ago_reports_were_gathered_is_no_silence_of_a_worker(age, status):
    (worker,) = picture({"a": saying(NOW - age)}, delay=2.0).workers

    assert worker.status == status


def test_the_time_of_the_observer_counts_more_than_the_clock_of_a_worker():
    (worker,) = picture({"a": saying(NOW - 1e6)}, heard={"a": NOW - 1}).workers

    assert (worker.status, worker.age) == ("live", 1.0)


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
def test_a_worker_that_says_no_time_is_not_called_live_for_it(odd):
    if odd not in (7, 10**30):
        (worker,) = picture({"a": {"at": odd}}).workers

        assert worker.status == "gone"


def test_modes_are_counted_over_live_workers():
    view = picture(
        {
            "a": saying(),
            "b": saying(mode="local"),
            "c": saying(mode="quantum"),
            "d": saying(NOW - 7, mode="stopped"),
        }
    )

    assert view.modes() == {"distributed": 1, "local": 1, "stopped": 0}


@pytest.mark.parametrize(
    ("source", "known", "complete"),
    [("fleet", "a", True), ("fleet", "ab", False), ("host", "a", False), ("self", "a", False)],
)
def test_the_picture_has_how_much_of_the_fleet_is_seen(source, known, complete):
    assert picture({"a": saying()}, known=known, source=source).complete is complete


def test_a_session_in_a_folder_of_a_host_is_counted_once_for_all_its_workers():
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


# -- what was chosen -----------------------------------------------------------------------------


def test_who_applied_a_choice_is_counted_over_live_workers():
    chosen = Choice("local", 100, NOW, "anna", "")
    view = picture(
        {
            "a": saying(control="100"),
            "b": saying(control="101"),
            "c": saying(control="99"),
            "d": saying(),
            "e": saying(NOW - 7, control="100"),
        },
        choice=chosen,
    )

    setting = view.settings["policy"]
    assert (setting.value, setting.configured) == ("local", "raise")
    assert (setting.applied, setting.of) == (2, 4)


@pytest.mark.parametrize("odd", [*ODD.values(), "9" * 30, "-5", "1e9", "\u0665"])
def test_a_stamp_that_is_none_applied_nothing(odd):
    if odd != 7:
        view = picture({"a": saying(control=odd)}, choice=Choice("local", 100))

        assert view.settings["policy"].applied == 0


def test_a_setting_without_an_override_is_applied_by_all_workers():
    setting = picture({"a": saying(), "b": saying()}).settings["policy"]

    assert (setting.value, setting.applied, setting.of) == ("raise", 2, 2)


def test_a_choice_that_was_taken_back_leaves_the_configuration():
    setting = picture({"a": saying(control="7")}, choice=Choice(None, 8)).settings["policy"]

    assert (setting.value, setting.applied) == ("raise", 0)


# -- nodes ---------------------------------------------------------------------------------------


def test_a_node_is_what_most_see_and_trusted_only_by_all():
    view = picture(
        {
            "a": saying(nodes={"n1": node("up")}),
            "b": saying(nodes={"n1": node("up", trusted=False)}),
            "c": saying(nodes={"n1": node("down")}),
        }
    )

    seen = view.nodes[0]
    assert (seen.state, seen.up, seen.of, seen.trusted) == ("up", 2, 3, False)
    assert view.nodes[1].state == "unknown"


def test_a_worker_shows_its_own_opinion_first():
    said = {name: saying(nodes={"n1": node("up")}) for name in "bcd"}
    said["a"] = saying(nodes={"n1": node("down")})

    assert picture(said, me="a").nodes[0].state == "down"


def test_statistics_are_those_read_last():
    view = picture(
        {
            "a": saying(nodes={"n1": node("up", at=NOW - 5)}),
            "b": saying(nodes={"n1": node("up", at=NOW - 1)}),
            "c": saying(nodes={"n1": node("up")}),
        }
    )

    assert view.nodes[0].observer == "b"
    assert view.nodes[1].observer is None


def test_without_any_worker_nothing_is_known():
    view = picture({})

    assert [seen.state for seen in view.nodes] == ["unknown", "unknown"]
    assert not any(seen.trusted for seen in view.nodes)
    assert view.settings["policy"].of == 0


# -- facts of a wrong type -----------------------------------------------------------------------

NAMES = ("at", "mode", "control", "nodes", "events", "local", "traffic", "rebuild", "blacklist")


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
@pytest.mark.parametrize("name", NAMES)
def test_odd_facts_break_nothing(name, odd):
    view = picture({"a": {**saying(), name: odd}, "b": saying()}, me="b")

    assert len(view.workers) == 2


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
def test_facts_come_out_with_the_type_they_must_have_and_bounded(odd):
    facts = ReportFields({"x": odd})

    assert isinstance(facts.number("x"), int | float | None)
    assert facts.number("x") is None or abs(facts.number("x")) < 1e18
    assert facts.whole("x") is None or type(facts.whole("x")) is int
    assert facts.text("x") is None or len(facts.text("x")) <= 1000
    assert facts.truth("x") is (odd is True)
    assert len(facts.series("x")) <= 200
    assert all(isinstance(row, ReportFields) for row in facts.rows("x"))
    assert all(isinstance(row, list) for row in facts.rows_of_numbers("x"))
    assert all(isinstance(name, str) for name in facts.inner("x").names())


def test_keys_that_are_no_text_have_no_name():
    assert ReportFields({1: 2, None: 3, "a": 4}).names() == ["a"]
