"""The list of sessions that ended lately: which ones it keeps."""

from __future__ import annotations

import pytest
from support.clock import FakeClock

from flask_msm.cluster import ended_sessions as endings_file
from flask_msm.cluster.ended_sessions import EndedSessions
from flask_msm.cluster.shared_map import MAX_SIZE, Bounds, SharedMap
from flask_msm.record.envelope import Envelope
from flask_msm.record.hybrid_clock import HybridLogicalClock
from flask_msm.record.keys import keyring


ENVELOPE = Envelope(
    lambda: keyring(("secret",)), codec_id=0, compress_above=None, max_size=MAX_SIZE
)


def digest(number: int) -> str:
    return f"{number:064x}"


class List(EndedSessions):
    """A list that has room for four sessions, with a clock."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.stamps = HybridLogicalClock(self.clock)
        super().__init__(
            SharedMap(
                "ended",
                envelope=ENVELOPE,
                stamps=self.stamps,
                clock=self.clock,
                bounds=endings_file.BOUNDS,
            )
        )

    def add_now(self, *numbers: int) -> None:
        for number in numbers:
            self.clock.advance(1.0)
            self.add(digest(number))
            self.share()

    def numbers(self) -> set[int]:
        return {int(name, 16) for name in self.shared.attributes.entries}


@pytest.fixture
def ended(monkeypatch):
    monkeypatch.setattr(endings_file, "LISTED", 4)
    monkeypatch.setattr(endings_file, "BOUNDS", Bounds(names=4))
    return List()


def test_the_newest_are_kept(ended):
    ended.add_now(*range(6))

    assert ended.numbers() == {2, 3, 4, 5}


def test_one_that_ended_earlier_does_not_take_the_place_of_a_newer_one(ended):
    old = [ended.stamps.next(0) for _ in range(10)]
    ended.add_now(1, 2, 3, 4)

    for number, stamp in enumerate(old, 100):
        ended.add(digest(number), stamp=stamp)
    ended.share()

    assert ended.numbers() == {1, 2, 3, 4}


def test_one_that_ended_earlier_is_listed_if_it_is_younger_than_the_oldest(ended):
    ended.add_now(1)
    between = ended.stamps.next(0)
    ended.add_now(2, 3, 4)

    ended.add(digest(9), stamp=between)
    ended.share()

    assert ended.numbers() == {2, 3, 4, 9}


def test_one_that_ended_earlier_is_listed_while_there_is_room(ended):
    old = ended.stamps.next(0)
    ended.add_now(1)

    ended.add(digest(9), stamp=old)
    ended.share()

    assert ended.numbers() == {1, 9}
    assert ended.shared.stamp(digest(9)) == old


def test_many_that_ended_earlier_push_nothing_out_that_waits_to_be_listed(ended, monkeypatch):
    old = [ended.stamps.next(0) for _ in range(50)]
    ended.clock.advance(1.0)
    ended.add(digest(1))
    for number, stamp in enumerate(old, 100):
        ended.add(digest(number), stamp=stamp)

    ended.share()

    # Of those that ended earlier the newest, as far as there is room.
    assert ended.numbers() == {1, 147, 148, 149}


def test_a_session_added_twice_keeps_its_place(ended):
    ended.add_now(1, 2)
    before = dict(ended.shared.attributes.entries)

    ended.add(digest(2), stamp=ended.shared.stamp(digest(2)) - 1)
    ended.share()

    assert ended.shared.attributes.entries == before


def test_a_list_says_which_sessions_one_host_alone_knows_to_have_ended(ended):
    shared, kept, earlier = (f"{number:040x}" for number in range(3))
    ended.add(shared)
    ended.add(kept, kept=True)
    ended.add(earlier, stamp=7)
    ended.share()

    found = {name: is_kept for name, _, is_kept in ended.fresh()}
    assert found == {shared: False, kept: True, earlier: False}
    # The host that kept it has handed it over.
    ended.add(kept, stamp=8)
    ended.share()
    assert ended.fresh() == []
