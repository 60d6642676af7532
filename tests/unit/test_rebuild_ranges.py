"""Workers that share the rebuild of a node: by ranges, which stay done when a worker dies."""

from __future__ import annotations

from contextlib import suppress

import pytest
from support.fake_node import FakeNode
from support.rebuilding import PREFIX, Site, key, record

from flask_msm.errors import NodeValueError
from flask_msm.maintenance import gathering
from flask_msm.maintenance.gathering import Gathering
from flask_msm.maintenance.lease import SHARED, is_owner
from flask_msm.maintenance.mover import Mover
from flask_msm.maintenance.ranges import RANGES, SHARE
from flask_msm.memcached.listing import Digests


WHOLE = f"{PREFIX}fleet:lease:n1"
COUNT = 400


class KilledError(BaseException):
    """The worker is no more."""


class SharedSite(Site):
    """Many sessions on n2, and what workers list of them."""

    def __init__(self):
        super().__init__()
        for number in range(COUNT):
            self.holds(self.source, number, record(a=b"1"))
        self.listed = []
        self.meanwhile = iter(())

    def listen(self):
        """Take note of the ranges that are listed, and do what happens meanwhile."""

        def listed(prefix, digits, length, take, deadline):
            self.listed.append(digits)
            FakeNode.list_digests(self.source, prefix, digits, length, take, deadline)
            next(self.meanwhile, lambda: None)()

        self.source.list_digests = listed

    def kill(self):
        raise KilledError

    def expire(self):
        """Let the leases of dead workers end."""
        for name, (value, _) in list(self.source.items.items()):
            if name.startswith(WHOLE) and (is_owner(value) or value == SHARED):
                del self.source.items[name]

    def is_whole(self):
        return {key(number) for number in range(COUNT)} <= set(self.target.items)

    def notes(self):
        found = {digit: self.source.items.get(f"{WHOLE}:{digit}") for digit in RANGES}
        return {
            digit: item[0] for digit, item in found.items() if item and item[0].startswith(b"done")
        }


@pytest.fixture
def site(monkeypatch):
    made = SharedSite()
    made.listen()
    return made


@pytest.fixture
def dies(site, monkeypatch):
    """Return what has a worker die with its third listing, with all that it has."""

    def died():
        site.meanwhile = iter([lambda: None, lambda: None, site.kill])
        with monkeypatch.context() as dead:
            dead.setattr(Mover, "release", lambda _: None)
            with suppress(KilledError):
                site.rebuild()
        site.expire()

    return died


def test_a_worker_alone_does_all_ranges_with_few_listings(site):
    assert site.rebuild()

    assert site.is_whole()
    # A listing serves the second look at some ranges and the first one at others.
    assert len(site.listed) == len(RANGES) / SHARE + 1
    assert f"{COUNT} records copied" in site.reported[-1][2]


def test_workers_share_a_node_and_the_last_one_has_it_trusted(site):
    other, answers = site.worker(), []
    site.meanwhile = iter([lambda: answers.append(other.rebuild("n1", ["n2"]))])

    assert site.rebuild()

    # The other one did what the first had not taken, and left the rest to it.
    assert answers == [False]
    assert site.is_whole()
    assert len(site.listed) == len(RANGES) / SHARE + 2
    assert site.rebuilt == [("n1", site.missed + 1)]
    kinds = [kind for _, kind, _, _ in site.reported]
    assert kinds == ["rebuild_began", "rebuild_began", "rebuild_shared", "rebuild_finished"]
    assert f"{COUNT} records copied" in site.reported[-1][2]


def test_what_a_worker_has_done_stays_done_when_it_dies(site, dies):
    dies()
    done = site.notes()
    assert done
    assert not site.rebuilt
    site.listed.clear()

    assert site.rebuild()
    assert site.is_whole()
    assert not set(done) & set("".join(site.listed))
    assert site.target.operations.count("add") == COUNT


def test_a_worker_that_finds_all_done_has_the_node_trusted(site):
    assert site.rebuild()
    site.rebuilt.clear()
    site.listed.clear()

    assert site.worker().rebuild("n1", ["n2"])
    assert site.rebuilt == [("n1", site.missed + 1)]
    assert not site.listed


def test_a_node_that_loses_its_memory_again_is_filled_from_the_beginning(site, dies):
    dies()
    site.target.items.clear()
    site.missed += 1

    assert site.rebuild()
    assert site.is_whole()


def test_another_memory_of_a_node_is_filled_from_the_beginning(site, dies):
    site.noted = site.shown = "a" * 32
    dies()
    site.target.items.clear()
    site.noted = site.shown = "b" * 32

    assert site.rebuild()
    assert site.is_whole()


def test_a_range_that_is_noted_as_done_without_a_signature_is_not_believed(site):
    for digit in RANGES:
        site.source.put(f"{WHOLE}:{digit}", b"done 8  10 10" + b"x" * 16)

    assert site.rebuild()
    assert site.is_whole()


def test_a_note_of_another_range_is_not_believed(site, dies):
    dies()
    note = next(iter(site.notes().values()))
    for digit in RANGES:
        site.source.put(f"{WHOLE}:{digit}", note)

    assert site.rebuild()
    assert site.is_whole()


def test_a_worker_of_the_version_before_has_the_node_alone(site):
    site.source.put(WHOLE, b"0123456789abcdef")

    assert not site.rebuild()
    assert not site.listed
    assert site.source.items[WHOLE][0] == b"0123456789abcdef"


def test_workers_of_the_version_before_leave_a_node_that_is_shared_alone(site):
    whole = []
    site.meanwhile = iter([lambda: whole.append(site.source.items[WHOLE][0])])

    assert site.rebuild()
    assert whole == [SHARED]
    assert site.source.ttls[WHOLE] == 1


def test_a_range_of_which_another_worker_can_read_more_is_not_done(site):
    site.holds(site.source, 1, record(5, a=b"5"))
    site.target.put(key(1), b"Ms" + bytes([9]) + bytes(100))
    site.elsewhere = {"format:9"}

    assert not site.rebuild()
    assert key(1)[len(PREFIX)] not in site.notes()


# -- bounds --------------------------------------------------------------------------------------


def test_a_listing_of_more_than_there_is_room_for_is_done_in_parts(site, monkeypatch):
    monkeypatch.setattr(gathering, "MOST", COUNT // 8)
    most = []
    sort = Gathering.sort

    def sorted_out(self, source):
        most.append(len(self._listed) // 40)
        sort(self, source)

    monkeypatch.setattr(Gathering, "sort", sorted_out)

    assert site.rebuild()
    assert site.is_whole()
    assert max(most) <= COUNT // 8


def test_a_range_of_more_than_there_is_room_for_is_not_copied(site, monkeypatch):
    monkeypatch.setattr(gathering, "MOST", 3)

    assert not site.rebuild()
    assert site.reported[-1][1] == "rebuild_failed"
    assert not site.rebuilt


def test_of_a_listing_of_a_million_keys_no_more_is_kept_than_there_is_room_for(monkeypatch):
    room = 50_000
    monkeypatch.setattr(gathering, "MOST", room)
    line = b"key=msm%%3Atest%%3A%x%039x exp=1764543210 la=1764456810 cas=%d fetch=no cls=9 size=5\n"
    block = b"".join(line % (number % 16, number, number) for number in range(1000))
    gathered = Gathering(list(RANGES), prefix=PREFIX, target_of=lambda _: [], rest=lambda: None)
    reply = Digests(PREFIX, RANGES, 40, gathered.take)
    most = 0
    for _ in range(1000):
        assert not reply.feed(block)
        most = max(most, len(gathered._listed), len(reply._received))
        if len(gathered.ranges) == 1 and len(gathered._listed) > 40 * (room - 1000):
            gathered._listed.clear()

    assert reply.feed(b"END\r\n")
    assert most <= 40 * room


def test_a_source_that_refuses_to_list_is_reported(site):
    def refuses(*_):
        raise NodeValueError("n2", "metadump is disabled")

    site.source.list_digests = refuses

    assert not site.rebuild()
    assert site.rebuilder.unlisted == {"n2"}
