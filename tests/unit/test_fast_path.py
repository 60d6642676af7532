"""The fast path of a read: the same answers as without it, and what it leaves to the usual way."""

from __future__ import annotations

import itertools

import pytest
from support.storage import (
    DEADLINE,
    ENVELOPE,
    FOREIGN,
    KEY,
    MAX_SIZE,
    OTHER_KEYS,
    RING,
    Nearby,
    alias,
    changing,
    fast_path,
    load,
    record,
    save,
    tombstone,
    values,
)

import flask_msm.storage.fast_path
import flask_msm.storage.known_records
from flask_msm.cluster.mode import Mode
from flask_msm.memcached.protocol import CasToken
from flask_msm.record.envelope import Envelope
from flask_msm.record.record import PARTIAL
from flask_msm.storage.local.sync_state import SyncState
from flask_msm.storage.second_looks import EVERY
from flask_msm.storage.store import FRESH, Copy, Loaded, Outcome, RecordTooLargeError, Saved


OLD, NEW = record(10, name=b"old"), record(20, name=b"new")
#: What a home may hold.
HELD = {
    "nothing": None,
    "an old copy": ENVELOPE.seal(OLD, KEY),
    "a new copy": ENVELOPE.seal(NEW, KEY),
    "a part": ENVELOPE.seal(NEW._replace(created=PARTIAL), KEY),
    "a tombstone": ENVELOPE.seal(tombstone(30), KEY),
    "an alias": ENVELOPE.seal(alias(30, "msm:test:other", name=b"new"), KEY),
    "garbage": b"garbage",
    "of another key": FOREIGN.seal(NEW, KEY),
}

#: What the other one may hold.
SECOND = ("nothing", "an old copy", "a new copy", "a tombstone")


def fill(near: Nearby, first: str, second: str) -> None:
    homes = near.placement.homes(KEY)
    for home, held in zip(homes, (first, second), strict=True):
        if HELD[held] is not None:
            near.nodes[home].put(KEY, HELD[held])


def nothing(near: Nearby) -> None:
    """All is well."""


def first_fails(near: Nearby) -> None:
    near.nodes[near.placement.homes(KEY)[0]].fail()


def second_fails(near: Nearby) -> None:
    near.nodes[near.placement.homes(KEY)[1]].hang()


def first_is_not_trusted(near: Nearby) -> None:
    near.views.untrusted.add(near.placement.homes(KEY)[0])


def second_is_down(near: Nearby) -> None:
    near.views.down.add(near.placement.homes(KEY)[1])


def waits_here(near: Nearby) -> None:
    near.local.write(KEY, changing(here=b"1"), SyncState.PENDING)


def has_a_copy_here(near: Nearby) -> None:
    near.local.confirm(KEY, record(15, rest=b"1"))


def has_ended(near: Nearby) -> None:
    near.ended.add(KEY)


def is_local(near: Nearby) -> None:
    near.mode = Mode.LOCAL


def is_stopped(near: Nearby) -> None:
    near.mode = Mode.STOPPED


def has_moved(near: Nearby) -> None:
    near.views.moved = True


STATES = [
    nothing,
    first_fails,
    second_fails,
    first_is_not_trusted,
    second_is_down,
    waits_here,
    has_a_copy_here,
    has_ended,
    is_local,
    is_stopped,
    has_moved,
]


@pytest.mark.parametrize("both", [True, False])
@pytest.mark.parametrize("at_least", [0, 20, 25])
@pytest.mark.parametrize("state", STATES)
def test_the_answer_is_the_same_with_and_without_it_whatever_nodes_hold(state, at_least, both):
    """*both*: the first read asks both homes, which brings them together."""
    for first, second in itertools.product(HELD, SECOND):
        answers = []
        for enabled in (True, False):
            near = Nearby()
            store = fast_path(near, enabled=enabled)
            fill(near, first, second)
            state(near)
            if not both:
                near.cluster._second_looks.due(KEY)
            # Of so many reads of one session, one asks both homes.
            answers.append(
                [
                    found._replace(copies={})
                    for _ in range(EVERY + 1)
                    for found in [load(store, at_least=at_least)]
                ]
            )
        assert answers[0] == answers[1], (first, second)


@pytest.mark.parametrize("state", STATES)
def test_a_change_is_stored_the_same_with_and_without_it_whatever_nodes_hold(state):
    for first, second in itertools.product(HELD, SECOND):
        stored = []
        for enabled in (True, False):
            near = Nearby()
            store = fast_path(near, enabled=enabled)
            fill(near, first, second)
            found = load(store)
            state(near)
            saved = save(store, changing(name=b"changed", more=b"1"), known=found)
            held = {
                node_id: ENVELOPE.open(node.items[KEY][0], KEY)
                for node_id, node in near.nodes.items()
                if KEY in node.items and saved.copies and node_id in saved.holders
            }
            here = near.local.find(KEY)
            stored.append(
                (
                    saved.holders,
                    saved.record.kind,
                    values(saved),
                    {
                        node_id: (made.kind, made.attributes.alive())
                        for node_id, made in held.items()
                    },
                    here and (here.mark, here.record.attributes.alive()),
                )
            )
        assert stored[0] == stored[1], (first, second)


@pytest.fixture
def near():
    return Nearby()


@pytest.fixture
def fast(near):
    return fast_path(near)


def test_a_good_day_asks_the_first_home_once_and_every_so_often_both(near, fast):
    fill(near, "a new copy", "a new copy")

    asked = [load(fast) and near.asked() for _ in range(2 * EVERY)]

    assert asked == [2, *[1] * (EVERY - 1)] * 2
    assert (fast.reads, fast.other_reads) == (2 * EVERY, 0)


@pytest.mark.parametrize("held", ["nothing", "a tombstone", "an alias"])
def test_a_read_of_a_session_that_is_over_is_none_that_the_path_could_have_taken(near, fast, held):
    fill(near, held, held)
    has_ended(near)

    load(fast)

    assert (fast.reads, fast.other_reads) == (0, 0)


def test_a_read_that_no_home_answers_is_one_that_did_not_take_the_path(near, fast):
    fill(near, "a new copy", "a new copy")
    first_fails(near)
    second_fails(near)

    load(fast)

    assert (fast.reads, fast.other_reads) == (0, 1)


@pytest.mark.parametrize(
    ("made", "others"),
    [
        pytest.param(changing(name=b"newer"), 1, id="changed"),
        pytest.param(lambda _: tombstone(30), 0, id="ended"),
        pytest.param(lambda _: alias(30, "msm:test:other", name=b"new"), 0, id="moved"),
    ],
)
def test_the_last_change_of_a_session_is_none_that_the_path_could_have_taken(
    near, fast, made, others
):
    fill(near, "a new copy", "a new copy")
    found = load(fast)
    second_fails(near)

    fast.save(KEY, made, known=found, deadline=DEADLINE)

    assert (fast.writes, fast.other_writes) == (0, others)


def test_the_first_change_of_a_session_is_none_that_the_path_could_have_taken(fast):
    fast.save(KEY, changing(name=b"first"), known=FRESH, deadline=DEADLINE)

    assert (fast.writes, fast.other_writes) == (0, 0)


def operations(near):
    """Return what the homes were asked since the last call."""
    homes = [near.nodes[home] for home in near.placement.homes(KEY)]
    asked = [list(home.operations) for home in homes]
    near.asked()
    return asked


def test_what_was_read_is_replaced_beside_a_read_of_the_other_home(near, fast):
    near.cluster._second_looks.due(KEY)
    fill(near, "a new copy", "a new copy")
    found = load(fast)
    near.asked()

    saved = fast.save(KEY, changing(name=b"newer"), known=found, deadline=DEADLINE)

    assert values(saved) == {"name": b"newer"}
    assert saved.copies == 2
    # What replaces a copy is read back with the same command.
    assert operations(near) == [["cas", "gets"], ["gets", "cas", "gets"]]


@pytest.mark.parametrize("change", ["seen", "written"])
def test_copies_that_were_seen_before_are_replaced_side_by_side_without_being_read(
    near, fast, change
):
    near.cluster._second_looks.due(KEY)
    fill(near, "a new copy", "a new copy")
    if change == "written":
        save(fast, changing(name=b"newer"), known=load(fast))
    else:
        for _ in range(EVERY - 1):
            load(fast)
    found = load(fast)
    near.asked()

    saved = fast.save(KEY, changing(name=b"newest"), known=found, deadline=DEADLINE)

    assert values(saved) == {"name": b"newest"}
    assert operations(near) == [["cas", "gets"]] * 2
    assert (fast.writes, fast.other_writes) == (1 + (change == "written"), 0)


def test_what_another_worker_wrote_behind_a_change_is_not_taken_for_it(near, fast):
    fill(near, "a new copy", "a new copy")
    load(fast)
    second = near.nodes[near.placement.homes(KEY)[1]]
    second.before["gets"] = lambda: other_change(near, 1)
    save(fast, changing(ours=b"2"), known=load(fast))
    assert "theirs" in near.in_cluster().attributes.alive()

    saved = save(fast, changing(name=b"newer"), known=load(fast))

    expected = {"name": b"newer", "theirs": b"1", "ours": b"2"}
    assert saved.record.attributes.alive() == expected
    assert near.in_cluster() == saved.record


def test_a_copy_that_was_replaced_since_it_was_seen_is_not_written_over(near, fast):
    fill(near, "a new copy", "a new copy")
    load(fast)
    found = load(fast)
    other_change(near, 1)

    saved = save(fast, changing(ours=b"2"), known=found)

    assert saved.record.attributes.alive() == {"name": b"new", "theirs": b"1", "ours": b"2"}
    assert near.in_cluster() == saved.record


def test_what_was_seen_on_a_connection_that_is_older_than_others_is_read_again(near, fast):
    """On a later connection the server may be another one, whose cas ids began anew."""
    fill(near, "a new copy", "a new copy")
    load(fast)
    found = load(fast)
    near.asked()
    for node in near.nodes.values():
        node.quick.pool.youngest = 1

    save(fast, changing(name=b"newer"), known=found)

    assert operations(near) == [["gets", "cas", "gets"]] * 2


def test_a_large_record_is_not_read_back(near, fast, monkeypatch):
    monkeypatch.setattr(flask_msm.storage.fast_path, "READ_BACK", 100)
    fill(near, "a new copy", "a new copy")
    load(fast)
    found = load(fast)
    near.asked()

    saved = fast.save(KEY, changing(name=b"newer" * 30), known=found, deadline=DEADLINE)

    assert operations(near) == [["cas"]] * 2
    assert load(fast).record == saved.record


def test_two_copies_of_one_record_may_be_different_bytes(near, fast):
    fill(near, "a new copy", "a new copy")
    deflated = Envelope(RING, codec_id=1, compress_above=0, max_size=MAX_SIZE)
    large = record(20, name=b"new" * 100)
    for node_id, envelope in zip(near.placement.homes(KEY), (ENVELOPE, deflated), strict=True):
        near.nodes[node_id].put(KEY, envelope.seal(large, KEY))
    assert len({node.items[KEY][0] for node in near.nodes.values() if KEY in node.items}) == 2

    assert load(fast).record == large

    assert (fast.reads, fast.other_reads) == (1, 0)


def test_a_copy_that_a_home_has_lost_is_made_again(near, fast):
    fill(near, "a new copy", "a new copy")
    lost = near.nodes[near.placement.homes(KEY)[1]]
    lost.items.clear()
    near.cluster._behind = near.behind

    load(fast)
    near.behind.run()

    assert KEY in lost.items


def test_a_copy_is_made_on_this_host_as_by_any_other_read(near, fast):
    fill(near, "a new copy", "a new copy")
    load(fast)

    near.mirroring.run()

    assert near.local.find(KEY).record == NEW


def test_the_same_bytes_are_verified_once(near, fast, monkeypatch):
    fill(near, "a new copy", "a new copy")
    opened = []
    usual = ENVELOPE.read
    monkeypatch.setattr(ENVELOPE, "read", lambda *args: opened.append(args) or usual(*args))

    for _ in range(5):
        assert load(fast).outcome is Outcome.FOUND

    assert len(opened) == 1


def other_change(near: Nearby, home: int) -> None:
    """Another worker changes the copy of one home."""
    node = near.nodes[near.placement.homes(KEY)[home]]
    before = ENVELOPE.open(node.items[KEY][0], KEY)
    node.put(KEY, ENVELOPE.seal(changing(theirs=b"1")(before), KEY))


@pytest.mark.parametrize("home", [0, 1])
@pytest.mark.parametrize("operation", ["gets", "cas"])
def test_a_change_of_another_worker_in_between_is_joined(near, fast, home, operation):
    near.cluster._second_looks.due(KEY)
    fill(near, "a new copy", "a new copy")
    found = load(fast)
    node = near.nodes[near.placement.homes(KEY)[1]]
    node.before[operation] = lambda: other_change(near, home)

    saved = save(fast, changing(ours=b"2"), known=found)

    # What comes to the first home after ours was stored there is the other worker's to bring along.
    assert near.in_cluster().attributes.alive() == {"name": b"new", "theirs": b"1", "ours": b"2"}
    assert (near.in_cluster() == saved.record) == (home == 1)
    assert saved.copies == 2


def test_a_home_that_fails_between_two_rounds_costs_no_change(near, fast):
    fill(near, "a new copy", "a new copy")
    load(fast)
    found = load(fast)
    last = near.nodes[near.placement.homes(KEY)[1]]
    last.before["cas"] = last.fail

    saved = save(fast, changing(name=b"newer"), known=found)

    assert values(saved) == {"name": b"newer"}
    assert len(saved.holders) == 2
    assert last.id not in saved.holders


def test_a_record_that_is_too_large_is_refused_as_ever(near, fast):
    fill(near, "a new copy", "a new copy")
    found = load(fast)

    with pytest.raises(RecordTooLargeError):
        save(fast, changing(name=bytes(MAX_SIZE)), known=found)

    assert near.in_cluster() == NEW


def test_what_was_written_here_is_not_verified_by_the_next_read(near, fast, monkeypatch):
    fill(near, "a new copy", "a new copy")
    save(fast, changing(name=b"newer"), known=load(fast))
    monkeypatch.setattr(ENVELOPE, "open", None)

    assert values(load(fast)) == {"name": b"newer"}
    assert (fast.writes, fast.other_writes) == (1, 0)


@pytest.fixture
def large(near, fast, monkeypatch):
    """The fast path, with a record that is large, on nodes that take meta commands."""
    monkeypatch.setattr(flask_msm.storage.fast_path, "LARGE", 50)
    monkeypatch.setattr(flask_msm.storage.known_records, "LARGE", 50)
    fill(near, "a new copy", "a new copy")
    for node in near.nodes.values():
        node.takes_meta = True
    return fast


def sent_to(near, monkeypatch):
    """Return a list that what is sent to nodes is put into, by their first words."""
    sent = []
    for node in near.nodes.values():
        usual = node.quick.send
        monkeypatch.setattr(
            node.quick,
            "send",
            lambda command, *args, usual=usual: (
                sent.append(command.split()[0].decode()) or usual(command, *args)
            ),
        )
    return sent


def test_a_large_record_that_is_still_the_same_is_not_sent_again(near, large, monkeypatch):
    sent = sent_to(near, monkeypatch)

    assert [load(large).record for _ in range(EVERY + 1)] == [NEW] * (EVERY + 1)

    assert sent == ["gets"] * 2 + ["mg"] * (EVERY - 1) + ["mg"] * 2


def test_a_large_record_that_was_changed_elsewhere_is_read_again(near, large, monkeypatch):
    load(large)
    other_change(near, 0)
    sent = sent_to(near, monkeypatch)

    assert values(load(large)) == {"name": b"new", "theirs": b"1"}
    assert values(load(large)) == {"name": b"new", "theirs": b"1"}

    assert sent == ["mg", "gets", "mg"]


def test_a_large_record_that_is_gone_is_not_shown(near, large):
    load(large)
    for node in near.nodes.values():
        node.items.clear()

    assert load(large).outcome is Outcome.MISSING


def test_nodes_that_take_no_meta_commands_are_sent_none(near, large, monkeypatch):
    for node in near.nodes.values():
        node.takes_meta = False
    sent = sent_to(near, monkeypatch)

    for _ in range(3):
        load(large)

    assert sent == ["gets"] * 4


def test_a_large_record_is_verified_again_after_the_secrets_were_rotated(near, large):
    load(large)

    load(large, keys=OTHER_KEYS)

    assert (large.reads, large.other_reads) == (1, 1)


def test_a_large_record_that_was_changed_on_the_usual_way_is_read_at_once(near, large, monkeypatch):
    save(large, changing(more=bytes(200)), known=load(large))
    near.returning = True
    save(large, changing(other=bytes(200)), known=load(large))
    near.returning = False
    sent = sent_to(near, monkeypatch)

    load(large)

    assert "mg" not in sent


def test_what_it_returns_has_all_that_its_kind_has(near, fast):
    """It is made without the call that would add what is missing."""
    fill(near, "a new copy", "a new copy")

    found = load(fast)
    saved = save(fast, changing(name=b"newer"), known=found)

    assert (fast.reads, fast.writes) == (1, 1)
    assert found == Loaded(Outcome.FOUND, found.record, found.copies)
    for copy in found.copies.values():
        assert copy == Copy(copy.record, copy.token)
        assert len(copy.token) == len(CasToken._fields)
    assert saved == Saved(saved.record, saved.holders)
