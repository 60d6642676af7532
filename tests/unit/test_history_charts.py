"""Where the parts of the charts of the history lie, and what is said of them."""

from __future__ import annotations

from itertools import pairwise

import pytest

from flask_msm.operations.history import Change, History, Outage, Point, Span
from flask_msm_dashboard.presenters.charts import (
    Axis,
    Block,
    apart,
    bars,
    known_parts,
    latency_y,
    marks,
    merged,
    share_y,
    steps,
)
from flask_msm_dashboard.presenters.history import history_page, node_lane
from flask_msm_dashboard.presenters.times import at_most, span_of


#: Tue 24 Nov 2026, 00:00 UTC.
MIDNIGHT = 1795478400.0
DAY = 86400.0
AXIS = Axis(MIDNIGHT, MIDNIGHT + 1000)


def history(**more):
    end = MIDNIGHT + 14.1 * 3600
    return History(range="24h", begin=end - DAY, end=end, step=300.0, **more)


def page(found, nodes=("n1",), timeout=0.25):
    return history_page(found, nodes, timeout)


# -- positions -----------------------------------------------------------------------------------


def test_times_outside_the_axis_lie_at_its_ends():
    assert [AXIS.x(MIDNIGHT + s) for s in (-5, 0, 250, 1000, 2000)] == [0, 0, 25, 100, 100]


def test_what_is_short_has_a_least_width_and_stays_within_the_chart():
    short = AXIS.block(MIDNIGHT + 999, None, "down", "", least=0.8)

    assert (short.x, short.width, short.end) == (99.2, 0.8, 100.0)


def test_ticks_are_round_times_that_keep_off_the_ends():
    day = Axis(MIDNIGHT - 10 * 3600, MIDNIGHT + 14 * 3600).ticks()

    assert [tick.label for tick in day] == [
        *("15:00", "18:00", "21:00", "Tue 24"),
        *("03:00", "06:00", "09:00", "12:00"),
    ]
    week = Axis(MIDNIGHT - 7 * DAY + 3600, MIDNIGHT + 3600).ticks()
    assert [tick.label for tick in week] == [
        "Wed 18",
        "Thu 19",
        "Fri 20",
        "Sat 21",
        "Sun 22",
        "Mon 23",
    ]
    assert all(2 < tick.x < 93 for tick in (*day, *week))


def test_blocks_that_touch_are_one_and_those_apart_stay_two():
    blocks = [Block(0, 1, "down"), Block(0.5, 1, "down"), Block(40, 1, "down")]

    assert merged(blocks, "{} times".format) == (
        Block(0, 1.5, "down", "2 times"),
        Block(40, 1, "down"),
    )


def test_markers_that_are_close_are_one_with_both_numbers():
    assert [(mark.x, mark.label) for mark in marks([10, 40, 42, 60])] == [
        (10, "1"),
        (40, "2\N{EN DASH}3"),
        (60, "4"),
    ]


def test_the_largest_bar_fills_the_lane_and_nothing_is_no_bar():
    values = [(MIDNIGHT, 0), (MIDNIGHT + 100, None), (MIDNIGHT + 200, 4), (MIDNIGHT + 300, 1)]

    found = bars(AXIS, values, 100, top=10, base=50)

    assert [(bar.x, bar.width, bar.y, bar.height) for bar in found] == [
        (20, 10, 10, 40),
        (30, 10, 40, 10),
    ]


def test_a_gap_breaks_the_line_and_the_base_line():
    values = [(MIDNIGHT + 100 * place, value) for place, value in enumerate((1, 1, 2, None, 2))]

    assert steps(AXIS, values, 100, lambda value: value * 10) == "M0 10H200V20H300M400 20H500"
    assert [(part.x, part.end) for part in known_parts(AXIS, values, 100)] == [(0, 30), (40, 50)]


def test_latencies_rise_by_the_same_for_each_doubling_and_stay_in_the_chart():
    heights = [latency_y(ms / 1000) for ms in (1, 2, 4, 8)]

    assert {round(a - b, 1) for a, b in pairwise(heights)} == {11.5}
    assert latency_y(0) == latency_y(1e-9) == 144
    assert latency_y(1e9) == 4


def test_the_axis_of_a_share_is_never_tighter_than_three_per_cent():
    point = Point(at=MIDNIGHT, hits=999, misses=1)
    assert page(history(points=(point,))).found.grid[-1] == (share_y(0.97)(0.97), "97 %")
    poor = Point(at=MIDNIGHT, hits=6, misses=4)
    assert page(history(points=(poor,))).found.grid[-1][1] == "50 %"


def test_names_at_the_end_of_lines_do_not_overlap():
    assert apart([10, 12, 13, 90], 14) == (10, 24, 38, 90)


# -- words ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59, "59 s"), (1024, "17 min 4 s"), (3600, "1 h"), (90_000, "1 d 1 h")],
)
def test_a_length_of_time_has_two_units_at_most(seconds, text):
    assert span_of(seconds) == text


def test_a_latency_is_the_upper_bound_of_its_class_and_the_last_class_has_none():
    assert at_most(0.00025) == "at most 0.25 ms"
    assert at_most(0.016) == "at most 16 ms"
    assert at_most(1.0) == "more than 512 ms"
    assert at_most(None) == "\N{EN DASH}"


def test_a_lane_says_what_a_person_would_say():
    begin, end = MIDNIGHT, MIDNIGHT + 10_000
    spans = [
        Span(node="n2", state="up", begin=begin, end=begin + 8048),
        Span(node="n2", state="down", begin=begin + 8048, end=begin + 9072),
        Span(node="n2", state="filling", begin=begin + 9072, end=begin + 9170),
        Span(node="n2", state="up", begin=begin + 9170),
    ]

    lane = node_lane(Axis(begin, end), "n2", spans)

    assert lane.text == (
        "n2: down 02:14:08 to 02:31:12, 17 min 4 s;"
        " being filled 02:31:12 to 02:32:50, 1 min 38 s; up otherwise"
    )
    assert [block.kind for block in lane.spans] == ["up", "up", "filling", "down"]


def test_a_node_that_nothing_is_known_of_is_not_up():
    assert page(history()).nodes[0].text == "n1: not known"
    since = Span(node="n1", state="up", begin=MIDNIGHT)
    text = page(history(spans=(since,))).nodes[0].text
    assert text == "n1: up since Tue 24 Nov, 00:00:00, not known before"


def test_unknown_numbers_are_a_dash_and_never_nothing():
    found = page(history(points=(None, Point(at=MIDNIGHT), None)))

    assert (found.lost.figure, found.kept.figure, found.found.figure) == ("\N{EN DASH}",) * 3
    assert (found.lost.most, found.kept.most) == ("not known", "not known")
    assert found.latency.text.startswith("Session time per request: not known")
    assert page(history(points=(None,))).notes == ("No numbers are known of this time.",)


def test_nothing_lost_is_none_in_words():
    found = page(history(points=(Point(at=MIDNIGHT, lost=0, kept=0),)))

    assert (found.lost.figure, found.lost.most, found.lost.bars) == ("0", "none", ())


def test_steps_without_some_workers_are_mentioned():
    point = Point(at=MIDNIGHT, workers=3, workers_known=4)

    assert "too low" in page(history(points=(point,))).notes[0]


def test_an_outage_has_begin_end_length_nodes_and_what_it_cost():
    outage = Outage(begin=MIDNIGHT, end=MIDNIGHT + 1024, nodes=("n2",), lost=0, kept=None)
    down = Span(node="n2", state="down", begin=MIDNIGHT, end=MIDNIGHT + 1000)

    found = page(history(outages=(outage,), spans=(down,)))

    (row,) = found.outages
    assert (row.begin, row.end, row.length) == ("Tue 24 Nov, 00:00:00", "00:17:04", "17 min 4 s")
    assert (row.nodes, row.lost, row.kept) == ("n2 down", "0", "\N{EN DASH}")
    (label,) = found.labels
    assert label.text + label.more == "00:00 n2 down 17 min 4 s, 0 lost"


def test_losses_of_a_step_that_two_outages_share_are_counted_once_in_all():
    outages = [
        Outage(begin=MIDNIGHT + at, end=MIDNIGHT + at + 60, nodes=("n2",), lost=4)
        for at in (60, 180)
    ]
    point = Point(at=MIDNIGHT, lost=4)

    text = page(history(outages=tuple(outages), points=(point,))).outages_text

    assert text == "2, 2 min in all · 4 sessions lost"


def test_an_outage_that_lasts_or_began_before_is_called_so():
    lasting = Outage(begin=MIDNIGHT - 10 * DAY, nodes=("n2",))
    found = history()

    (row,) = page(history(outages=(Outage(begin=found.begin, nodes=lasting.nodes),))).outages

    assert row.begin.startswith("before Mon 23 Nov")
    assert (row.end, row.nodes) == ("lasts", "n2 being filled")
    assert row.length.startswith("more than")


def test_labels_of_outages_never_overlap_and_the_worst_one_stays():
    outages = [
        Outage(begin=MIDNIGHT + 600 * place, end=MIDNIGHT + 600 * place + 60, lost=place)
        for place in range(9)
    ]

    labels = page(history(outages=tuple(outages))).labels

    assert [label.text + label.more for label in labels] == ["01:20 sessions lost, 8 lost"]


def test_changes_are_numbered_by_time_and_listed_newest_first():
    changes = tuple(
        Change(at=MIDNIGHT + hour * 3600, kind="k", text=f"change {hour}", who="ops", why="a test")
        for hour in (1, 5)
    )

    found = page(history(changes=changes))

    assert [(row.number, row.change.text, row.detail) for row in found.changes] == [
        (2, "change 5", "by ops · why: a test"),
        (1, "change 1", "by ops · why: a test"),
    ]
    assert found.marks_text == "1 at 01:00:00 by ops; 2 at 05:00:00 by ops"


def test_the_table_has_the_figures_of_the_chart_hour_by_hour():
    points = [None] * 24
    points[0] = Point(
        at=MIDNIGHT, hits=3, misses=1, lost=2, kept=5, p50=0.001, p95=0.004, p99=0.008
    )
    points[1] = Point(at=MIDNIGHT + 300, hits=1, misses=0, lost=1, kept=4, p50=0.002, p95=0.002)

    rows = page(history(points=tuple(points))).figures

    assert [row.begin for row in rows] == ["Tue 24 Nov 00:00", "Tue 24 Nov 01:00"]
    assert rows[0].cells == (
        *("3", "5", "at most 2 ms", "at most 4 ms", "at most 8 ms"),
        *("80.0 %", "0", "2 of 12"),
    )
    assert rows[1].cells == (*["\N{EN DASH}"] * 7, "0 of 12")
