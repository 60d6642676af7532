"""Second looks behind the response: what they ask, and what they bring together."""

from __future__ import annotations

from functools import partial

import pytest
from support.fake_node import FakeNode
from support.storage import (
    ENVELOPE,
    FOREIGN,
    KEY,
    MAX_SIZE,
    RING,
    Nearby,
    changing,
    fast_path,
    key,
    load,
    record,
    save,
    tombstone,
    values,
)

import flask_msm.storage.looks_behind
from flask_msm.record.envelope import Envelope
from flask_msm.storage.looks_behind import LooksBehind
from flask_msm.storage.second_looks import EVERY


OLD, NEW = record(10, name=b"old"), record(20, name=b"new")


@pytest.fixture
def near() -> Nearby:
    return Nearby()


@pytest.fixture
def fast(near):
    """The path, after so many reads that the next one is due to ask both homes."""
    path = fast_path(near, behind=near.behind)
    hold(near, ENVELOPE.seal(NEW, KEY), ENVELOPE.seal(NEW, KEY))
    for _ in range(EVERY):
        load(path)
    near.asked()
    return path


def hold(near: Nearby, *copies: bytes | None) -> None:
    """Let the homes hold these copies."""
    for home, data in zip(near.placement.homes(KEY), copies, strict=True):
        near.nodes[home].items.pop(KEY, None)
        if data is not None:
            near.nodes[home].put(KEY, data)


def held(near: Nearby) -> list:
    """Return the records that the homes hold."""
    items = [near.nodes[home].items.get(KEY) for home in near.placement.homes(KEY)]
    return [ENVELOPE.open(item[0], KEY) if item else None for item in items]


def operations(near: Nearby) -> list[list[str]]:
    """Return what the homes were asked since the last call."""
    asked = [list(near.nodes[home].operations) for home in near.placement.homes(KEY)]
    near.asked()
    return asked


def test_the_first_read_of_a_session_asks_both_homes_at_once(near):
    path = fast_path(near, behind=near.behind)
    hold(near, ENVELOPE.seal(OLD, KEY), ENVELOPE.seal(NEW, KEY))

    assert values(load(path)) == {"name": b"new"}


def test_every_fourth_read_after_it_asks_the_first_home_and_the_other_one_behind(near, fast):
    load(fast)
    assert operations(near) == [["gets"], []]

    near.behind.run()

    assert operations(near) == [["gets"], ["gets"]]
    assert fast.other_reads == 0


@pytest.mark.parametrize(
    ("first", "second", "joined"),
    [
        (NEW, None, NEW),
        (NEW, OLD, NEW),
        (OLD, NEW, NEW),
        (NEW, b"garbage", NEW),
        (NEW, tombstone(30), tombstone(30)),
    ],
    ids=["lost", "old", "newer", "damaged", "ended"],
)
def test_copies_that_differ_are_brought_together_behind(near, fast, first, second, joined):
    sealed = [
        one if isinstance(one, bytes | None) else ENVELOPE.seal(one, KEY) for one in (first, second)
    ]
    hold(near, *sealed)

    load(fast)
    near.behind.run()

    assert held(near) == [joined, joined]


def test_a_copy_of_another_key_is_left_alone(near, fast):
    hold(near, ENVELOPE.seal(NEW, KEY), FOREIGN.seal(NEW, KEY))

    load(fast)
    near.behind.run()

    assert near.nodes[near.placement.homes(KEY)[1]].items[KEY][0] == FOREIGN.seal(NEW, KEY)


def test_the_same_record_in_other_bytes_is_not_written_again(near, fast):
    other = Envelope(RING, codec_id=1, compress_above=None, max_size=MAX_SIZE, writes=lambda: 2)
    hold(near, ENVELOPE.seal(NEW, KEY), other.seal(NEW, KEY))

    load(fast)
    near.behind.run()

    assert near.nodes[near.placement.homes(KEY)[1]].items[KEY][0] == other.seal(NEW, KEY)


def test_a_node_that_fails_then_is_reported_and_the_copies_stay(near, fast):
    home = near.placement.homes(KEY)[1]
    load(fast)
    near.nodes[home].fail()

    near.behind.run()

    assert near.views.untrusted == {home}


def test_a_home_that_does_not_count_alone_is_not_asked(near, fast):
    load(fast)
    operations(near)
    near.views.untrusted.add(near.placement.homes(KEY)[1])

    near.behind.run()

    assert operations(near) == [[], []]


def test_many_sessions_cost_one_command_to_each_home(near, monkeypatch):
    path = fast_path(near, behind=near.behind)
    for at in map(key, range(50)):
        for home in near.placement.homes(at):
            near.nodes[home].put(at, ENVELOPE.seal(NEW, at))
        for _ in range(EVERY + 1):
            load(path, at)
    asked = []
    for node in near.nodes.values():
        monkeypatch.setattr(node, "get_many", partial(counted, asked, node, node.get_many))

    near.behind.run()

    assert sorted(asked) == sorted(near.nodes)


def counted(asked, node, get_many, keys, deadline):
    asked.append(node.id)
    return get_many(keys, deadline)


@pytest.mark.parametrize("bound", ["keys", "jobs"])
def test_a_read_asks_both_homes_itself_when_too_much_waits(near, fast, bound, monkeypatch):
    if bound == "keys":
        monkeypatch.setattr(flask_msm.storage.looks_behind, "WAITING", 0)
    else:
        near.behind.limit = 0

    load(fast)

    assert operations(near) == [["gets"], ["gets"]]


def test_a_fork_queues_looks_of_its_own(near, fast, monkeypatch):
    load(fast)
    monkeypatch.setattr("os.getpid", lambda: -1)
    for _ in range(EVERY):
        load(fast)

    assert len(near.behind.jobs) == 2


def test_a_key_that_is_added_too_late_does_not_end_the_looks_at_others(near, monkeypatch):
    monkeypatch.setattr(flask_msm.storage.looks_behind, "BATCH", 1)
    looks = LooksBehind(near.cluster.nodes, near.cluster.rejoin, near.behind)
    for number in range(3):
        looks.add(key(number))
    before = looks._waiting  # as a thread has it that is about to add a key
    get_many = FakeNode.get_many

    def slowly(node, keys, deadline):
        before[key(len(before))] = None
        return get_many(node, keys, deadline)

    monkeypatch.setattr(FakeNode, "get_many", slowly)
    near.behind.run()

    assert sum(list(node.operations).count("gets") for node in near.nodes.values()) == 3 * 2


def test_a_session_that_changes_meanwhile_keeps_the_change(near, fast):
    found = load(fast)
    save(fast, changing(name=b"newest"), known=found)

    near.behind.run()

    assert [one.attributes.alive() for one in held(near)] == [{"name": b"newest"}] * 2
