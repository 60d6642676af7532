"""What a rebuild copies, what it leaves alone, and when it counts."""

from __future__ import annotations

from itertools import count

import pytest
from support.fake_node import FakeExchange, FakeNode
from support.rebuilding import MAX_SIZE, OURS, PREFIX, THEIRS, Site, key, record

from flask_msm.errors import NodeBusyError, NodeValueError
from flask_msm.maintenance.copier import (
    BATCH,
    BUSY_DUTY,
    CALM_AFTER,
    DUTY,
    REPLY,
    RecordCopier,
)
from flask_msm.maintenance.lease import LEASE, Lease, LeaseLostError, kept
from flask_msm.maintenance.mover import MAX_PASSES
from flask_msm.maintenance.patience import RESTS
from flask_msm.maintenance.ranges import RANGES, SHARE
from flask_msm.memcached.failures import NoConnectionError
from flask_msm.record.envelope import Envelope, needs_of
from flask_msm.record.keys import Keyring
from flask_msm.record.record import Kind
from flask_msm.testing.memcached import wait_until


@pytest.fixture
def site():
    return Site()


def test_a_record_that_the_target_lacks_is_copied_as_the_bytes_it_is(site):
    site.holds(site.source, 1, record(a=b"1"))
    stored = site.source.items[key(1)][0]

    site.copy(1)

    assert site.target.items[key(1)][0] == stored


def test_a_record_that_would_be_written_otherwise_today_is_written_anew(site):
    before = Keyring(("before",))
    old = Envelope(lambda: before, codec_id=1, compress_above=None, max_size=MAX_SIZE)
    site.holds(site.source, 1, record(a=b"1"), by=old)
    both = Keyring(("secret", "before"))
    site.copier.envelope = Envelope(
        lambda: both, codec_id=1, compress_above=None, max_size=MAX_SIZE
    )

    site.copy(1)

    assert site.held(site.target, 1) == record(a=b"1")


def test_a_copier_rests_longer_while_requests_come_in_and_for_a_moment_after(site):
    requests, spent, rests = iter([0, 0, 5, 5, 5]), count(), []
    site.copier.requests = lambda: next(requests)
    site.copier.processor = lambda: float(next(spent))
    site.copier.rest()
    site.copier.pause = rests.append

    def pause(seconds):
        rests.append(seconds)
        if len(rests) == 3:
            site.clock.advance(CALM_AFTER)

    site.copier.pause = pause
    site.copy(*range(4 * BATCH))

    duties = DUTY, BUSY_DUTY, BUSY_DUTY, DUTY
    assert rests == pytest.approx([1 / duty - 1 for duty in duties])


def test_a_wait_for_a_node_is_a_rest_of_the_copier_as_well(site):
    spent, rests = count(), []
    site.copier.processor = lambda: float(next(spent))
    site.copier.rest()
    site.copier.pause = rests.append
    answer = site.source.start_get_values

    def slow(keys, deadline):
        site.clock.advance(2 / DUTY)
        return answer(keys, deadline)

    site.source.start_get_values = slow
    site.copy(1)

    assert rests == []


@pytest.mark.parametrize("connections", [1, 2, 3, 8])
def test_a_copier_leaves_a_connection_to_requests(site, connections):
    used, most = [0], [0]

    def counted(start):
        def begun(*arguments):
            exchange = start(*arguments)
            used[0] += 1
            most[0] = max(most[0], used[0])
            result = exchange.result

            def ended():
                used[0] -= 1
                return result()

            exchange.result = ended
            return exchange

        return begun

    site.copier = RecordCopier(
        envelope=OURS,
        clock=site.clock,
        timeout=1.0,
        pause=lambda _: None,
        connections=connections,
    )
    for number in range(3 * BATCH):
        site.holds(site.source, number, record(2, a=b"2"))
        site.holds(site.target, number, record(1, a=b"1"))
    site.target.start_get_values = counted(site.target.start_get_values)
    site.target.start_cas = counted(site.target.start_cas)
    site.copy(*range(3 * BATCH))

    assert used == [0]
    assert most[0] <= max(1, connections - 1)


def test_of_large_records_fewer_are_asked_for_at_a_time(site):
    asked = []
    answer = site.source.start_get_values
    site.source.start_get_values = lambda keys, deadline: (
        asked.append(len(keys)) or answer(keys, deadline)
    )
    for number in range(3 * BATCH):
        site.holds(site.source, number, record(a=b"x" * (REPLY // 10)))

    site.copy(*range(3 * BATCH))

    assert asked[:2] == [BATCH, BATCH]
    assert max(asked[2:]) <= 10
    assert len(site.target.items) == 3 * BATCH


# -- nodes that are busy -------------------------------------------------------------------------


def test_a_rebuild_goes_on_where_it_was_when_nodes_were_busy_for_a_while(site):
    for number in range(3 * BATCH):
        site.holds(site.source, number, record(a=b"1"))
    listings = []
    site.source.metadump = lambda prefix, deadline: (
        listings.append(1) or FakeNode.metadump(site.source, prefix, deadline)
    )
    assert site.rebuild()
    undisturbed = len(listings)
    site.target.restart_empty()
    for name in [name for name in site.source.items if ":fleet:" in name]:
        del site.source.items[name]
    listings.clear()
    # It rests after work as well, for other times.
    site.copier.pause = lambda seconds: seconds in RESTS and site.source.heal()
    site.target.before["add"] = site.source.hang

    assert site.rebuild()
    assert len(site.target.items) == 3 * BATCH
    assert len(listings) == undisturbed
    assert "rebuild_failed" not in [kind for _, kind, *_ in site.reported]


def test_a_rebuild_is_broken_off_when_a_node_stays_busy(site):
    site.holds(site.source, 1, record(a=b"1"))
    site.target.before["add"] = site.target.hang

    assert not site.rebuild()
    assert site.reported[-1][1] == "rebuild_failed"


def test_a_copier_goes_on_with_the_only_connection_that_a_node_has_left(site):
    for number in range(5 * BATCH):
        site.holds(site.source, number, record(a=b"1"))
    answer, used = site.source.start_get_values, []

    def refuse():
        raise NoConnectionError("n2", "too many open connections")

    def limited(keys, deadline):
        """Answer if no other exchange has the connection."""
        if used:
            return FakeExchange(refuse)
        exchange = answer(keys, deadline)
        used.append(exchange)
        return FakeExchange(lambda: used.remove(exchange) or exchange.result())

    site.source.start_get_values = limited

    assert site.copy(*range(5 * BATCH)).written == 5 * BATCH


# -- what is copied ------------------------------------------------------------------------------


def test_a_record_that_the_target_lacks_is_copied_with_its_time_to_live(site):
    site.holds(site.source, 1, record(a=b"1"))

    assert site.copy(1).written == 1
    assert site.held(site.target, 1) == record(a=b"1")
    assert site.target.ttls[key(1)] == 1001


def test_a_record_that_source_and_target_hold_is_joined(site):
    site.holds(site.source, 1, record(1, a=b"1"))
    site.holds(site.target, 1, record(2, b=b"2"))

    site.copy(1)

    assert site.held(site.target, 1).attributes.alive() == {"a": b"1", "b": b"2"}


def test_a_record_that_the_target_has_already_is_not_written(site):
    site.holds(site.source, 1, record(1, a=b"1"))
    site.holds(site.target, 1, record(2, a=b"2"))
    before = site.target.items[key(1)]

    assert site.copy(1).written == 0
    assert site.target.items[key(1)] == before


def test_a_tombstone_is_copied_over_an_old_copy(site):
    site.holds(site.source, 1, record(5, kind=Kind.DESTROYED))
    site.holds(site.target, 1, record(1, a=b"1"))

    assert site.copy(1).written == 1
    assert site.held(site.target, 1).kind is Kind.DESTROYED


def test_an_expired_record_is_not_copied(site):
    site.holds(site.source, 1, record(a=b"1", expires_at=1_799_999_999.0))

    assert site.copy(1).written == 0
    assert key(1) not in site.target.items


def test_a_corrupt_copy_of_the_source_is_not_copied(site):
    site.source.put(key(1), b"rubbish")

    assert site.copy(1).written == 0
    assert key(1) not in site.target.items


def test_a_corrupt_copy_of_the_target_is_replaced(site):
    site.holds(site.source, 1, record(a=b"1"))
    site.target.put(key(1), b"rubbish")

    assert site.copy(1).written == 1
    assert site.held(site.target, 1) == record(a=b"1")


def test_a_change_of_a_request_during_the_copy_is_joined_as_well(site):
    site.holds(site.source, 1, record(1, a=b"1"))
    site.holds(site.target, 1, record(0, z=b"0"))
    site.target.before["cas"] = lambda: site.holds(site.target, 1, record(2, b=b"2"))

    site.copy(1)

    assert site.held(site.target, 1).attributes.alive() == {"a": b"1", "b": b"2"}


# -- what the target refuses ---------------------------------------------------------------------


def test_a_refused_value_is_counted_and_keeps_no_other_from_being_copied(site):
    for number in range(1, 10):
        site.holds(site.source, number, record(a=b"1"))
    site.target.refuses = {key(3)}

    assert site.rebuild()
    assert set(site.target.items) == {key(number) for number in range(1, 10)} - {key(3)}
    assert site.rebuilt == [("n1", 8)]
    (finished,) = [event for event in site.reported if event[1] == "rebuild_finished"]
    assert finished[0] == "warning"
    assert "1 were refused" in finished[2]


def test_in_place_of_a_tombstone_that_is_refused_no_old_copy_stays(site):
    site.holds(site.source, 1, record(5, kind=Kind.DESTROYED))
    site.holds(site.target, 1, record(1, a=b"1"))
    site.target.refuses = {key(1)}

    assert site.copy(1).refused == 1
    assert key(1) not in site.target.items


# -- what only other workers can read ------------------------------------------------------------


def test_a_record_that_only_others_can_read_is_copied_as_it_is(site):
    site.holds(site.source, 1, record(a=b"1"), by=THEIRS)
    site.source.ends[key(1)] = 1_800_000_500

    assert site.rebuild()
    assert site.target.items[key(1)][0] == site.source.items[key(1)][0]
    assert site.target.ttls[key(1)] == 501
    assert "1 records copied" in site.reported[-1][2]


def test_a_tombstone_that_only_others_can_read_is_copied_as_it_is(site):
    site.holds(site.source, 1, record(5, kind=Kind.DESTROYED), by=THEIRS)

    assert site.rebuild()
    assert site.held(site.target, 1, by=THEIRS).kind is Kind.DESTROYED


def test_a_record_that_only_others_can_read_never_replaces_another(site):
    site.holds(site.source, 1, record(5, a=b"5"), by=THEIRS)
    site.holds(site.target, 1, record(1, a=b"1"))

    site.rebuild()

    assert site.held(site.target, 1) == record(1, a=b"1")


@pytest.mark.parametrize("foreign", ["source", "target"])
def test_a_pass_does_not_count_while_another_worker_can_read_what_is_in_the_way(site, foreign):
    site.holds(site.source, 1, record(5, a=b"5"), by=THEIRS if foreign == "source" else OURS)
    site.holds(site.target, 1, record(1, a=b"1"), by=THEIRS if foreign == "target" else OURS)
    site.elsewhere = needs_of(getattr(site, foreign).items[key(1)][0])

    assert not site.rebuild()
    assert site.rebuilt == []
    assert site.rebuilder.left_to_others == {"n1"}
    assert site.reported[-1][1] == "rebuild_failed"


def test_a_pass_counts_and_says_the_number_if_no_worker_can_read_what_is_in_the_way(site):
    site.holds(site.source, 1, record(5, a=b"5"), by=THEIRS)
    site.holds(site.target, 1, record(1, a=b"1"))

    assert site.rebuild()
    assert site.reported[-1][0] == "warning"
    assert "1 were left that no worker can read" in site.reported[-1][2]


# -- passes and the lease ------------------------------------------------------------------------


def test_passes_are_repeated_until_one_finds_nothing(site):
    first, *others = [number for number in range(200) if key(number)[-40] == "7"][:3]
    site.holds(site.source, first, record(a=b"1"))
    late = iter(others)

    def listed(prefix, deadline):
        number = next(late, None)
        found = FakeNode.metadump(site.source, prefix, deadline)
        if number:
            site.holds(site.source, number, record(a=b"1"))
        return found

    site.source.metadump = listed

    assert site.rebuild()
    assert set(site.target.items) == {key(number) for number in (first, *others)}


def test_passes_are_bounded(site):
    passes = []

    def listed(prefix, deadline):
        passes.append(1)
        site.holds(site.source, len(passes), record(a=b"1"))
        return FakeNode.metadump(site.source, prefix, deadline)

    site.source.metadump = listed

    assert site.rebuild()
    # The ranges that are taken last have as many passes as others.
    assert len(passes) <= len(RANGES) / SHARE - 1 + MAX_PASSES


def test_only_keys_of_sessions_are_copied(site):
    site.source.put(f"{PREFIX}fleet:control", b"x")
    site.source.put(f"{PREFIX}{'a' * 39}", b"x")

    assert site.rebuild()
    assert site.target.items == {}


def test_a_rebuild_counts_from_just_above_the_miss_it_answers(site):
    assert site.rebuild()
    assert site.rebuilt == [("n1", site.missed + 1)]


def test_a_node_that_is_another_memory_than_the_fleet_knows_is_not_rebuilt(site):
    site.noted, site.shown = "a" * 32, "b" * 32
    site.holds(site.source, 1, record(a=b"1"))

    assert not site.rebuild()
    assert site.target.items == {}


def test_a_rebuild_does_not_count_if_another_memory_answers_at_its_end(site):
    site.noted = site.shown = "a" * 32
    site.holds(site.source, 1, record(a=b"1"))

    def exchanged():
        site.shown = "b" * 32

    site.target.before["add"] = exchanged

    assert not site.rebuild()
    assert site.rebuilt == []
    assert "lost its memory meanwhile" in site.reported[-1][2]


def test_a_rebuild_counts_if_the_same_memory_answers_at_its_end(site):
    site.noted = site.shown = "a" * 32

    assert site.rebuild()


def test_a_rebuild_under_the_lease_of_another_worker_is_not_begun(site):
    site.source.put(f"{PREFIX}fleet:lease:n1", b"another")
    site.holds(site.source, 1, record(a=b"1"))

    assert not site.rebuild()
    assert site.target.items == {}
    assert site.reported == []


def test_a_lease_that_another_worker_has_by_now_ends_the_rebuild_and_is_reported(site):
    for number in range(2):
        site.holds(site.source, number, record(a=b"1"))
    lease = f"{PREFIX}fleet:lease:n1"

    def listed(prefix, deadline):
        site.source.put(lease, b"another")
        site.clock.advance(LEASE)
        return FakeNode.metadump(site.source, prefix, deadline)

    site.source.metadump = listed

    assert not site.rebuild()
    assert site.reported[-1][1] == "rebuild_failed"
    assert "lease" in site.reported[-1][2]
    assert site.source.items[lease][0] == b"another"


def test_a_renewed_lease_is_valid_for_as_long_again_and_one_of_another_worker_is_not(site):
    lease = Lease(site.source, "lease", clock=site.clock, timeout=1.0)
    assert lease.acquire()
    site.clock.advance(LEASE - 1)
    lease.renew()
    site.clock.advance(LEASE - 1)
    lease.check()

    site.source.put("lease", b"another")
    lease.renew()
    with pytest.raises(LeaseLostError):
        lease.check()


def test_a_lease_whose_node_does_not_answer_ends_when_it_expires(site):
    lease = Lease(site.source, "lease", clock=site.clock, timeout=1.0)
    assert lease.acquire()
    site.source.hang()
    lease.renew()
    lease.check()
    site.clock.advance(LEASE)
    with pytest.raises(LeaseLostError):
        lease.check()


def test_a_lease_is_renewed_while_its_holder_is_busy_with_something_else(site, monkeypatch):
    monkeypatch.setattr("flask_msm.maintenance.lease.RENEW", 0.001)
    lease = Lease(site.source, "lease", clock=site.clock, timeout=1.0)
    assert lease.acquire()
    with kept(lambda: [lease]):
        site.clock.advance(LEASE - 1)
        renewed = len(site.source.operations)
        wait_until(lambda: len(site.source.operations) > renewed + 2, "the lease is renewed")
    site.clock.advance(LEASE - 1)
    lease.check()


def test_the_lease_is_given_back(site):
    site.rebuild()

    assert site.source.ttls[f"{PREFIX}fleet:lease:n1"] == 1


def test_a_source_that_fails_leaves_the_node_untrusted(site):
    site.holds(site.source, 1, record(a=b"1"))
    site.source.before["gets"] = site.source.hang

    assert not site.rebuild()
    assert site.rebuilt == []
    assert site.reported[-1][1] == "rebuild_failed"


def test_a_drain_copies_to_the_nodes_that_take_over(site):
    site.holds(site.target, 1, record(a=b"1"))

    assert site.rebuilder.drain("n1", ["n2"])
    assert site.held(site.source, 1) == record(a=b"1")


# -- what happens to a copier meanwhile ----------------------------------------------------------


def test_a_record_of_others_that_is_refused_is_counted(site):
    site.holds(site.source, 1, record(a=b"1"), by=THEIRS)
    site.target.refuses = {key(1)}

    assert site.rebuild()
    assert "1 were refused" in site.reported[-1][2]


def test_nothing_more_is_sent_to_a_target_that_fails(site):
    for number in range(1, 5):
        site.holds(site.source, number, record(2, a=b"2"))
        site.holds(site.target, number, record(1, a=b"1"))
    site.target.before["cas"] = site.target.hang

    with pytest.raises(NodeBusyError):
        site.copy(1, 2, 3, 4)

    assert site.target.operations.count("cas") == 1


def test_a_record_that_changes_faster_than_it_can_be_copied_breaks_the_rebuild_off(site):
    site.holds(site.source, 1, record(2, a=b"2"))
    site.holds(site.target, 1, record(1, a=b"1"))
    versions = count(3)

    def changed():
        site.holds(site.target, 1, record(next(versions), b=b"x"))
        site.target.before["cas"] = changed

    changed()

    assert not site.rebuild()
    assert "changes faster than it can be copied" in site.reported[-1][2]


def test_a_change_of_a_record_that_both_hold_is_joined_as_well(site):
    site.holds(site.source, 1, record(2, a=b"2"))
    site.holds(site.target, 1, record(1, a=b"1"))
    site.target.before["cas"] = lambda: site.holds(site.target, 1, record(3, b=b"3"))

    assert site.copy(1).written == 1
    assert set(site.held(site.target, 1).attributes.entries) == {"a", "b"}


def test_records_that_others_write_meanwhile_and_only_they_can_read_are_left_to_the_next_pass(site):
    site.holds(site.source, 1, record(2, a=b"2"))
    site.holds(site.target, 1, record(1, a=b"1"))
    theirs = record(9, b=b"9")
    site.target.before["cas"] = lambda: site.holds(site.target, 1, theirs, by=THEIRS)

    assert site.copy(1).written == 0
    assert site.held(site.target, 1, by=THEIRS) == theirs


def test_a_join_that_has_expired_is_not_written(site):
    past = site.clock.time() - 1
    site.holds(site.source, 1, record(2, a=b"2", expires_at=past))
    site.holds(site.target, 1, record(1, a=b"1", expires_at=past))

    assert site.copy(1).written == 0
    assert site.held(site.target, 1).version == 1


# -- nodes that cannot be rebuilt ----------------------------------------------------------------


def test_a_rebuild_without_a_node_to_keep_the_lease_is_not_begun(site):
    site.source.fail()

    assert not site.rebuild()
    assert site.reported == []


def test_a_rebuild_of_a_node_that_does_not_show_its_memory_is_not_begun(site):
    def fails(*_):
        raise NodeBusyError("n1", "timed out")

    site.rebuilder.membership.identities.of = fails

    assert not site.rebuild()
    assert site.reported == []


def test_a_source_that_does_not_list_its_keys_is_named_until_it_does(site):
    def refuses(prefix, deadline):
        raise NodeValueError("n2", "metadump is disabled")

    site.source.metadump = refuses
    assert not site.rebuild()
    assert site.rebuilder.unlisted == {"n2"}
    assert "stays in use" in site.reported[-1][2]

    del site.source.metadump
    site.source.items.clear()  # the lease has expired
    assert site.rebuild()
    assert site.rebuilder.unlisted == set()


def test_the_only_node_is_drained_without_a_copy(site):
    del site.nodes["n2"]

    assert site.rebuilder.drain("n1", [])
    assert site.reported == []
