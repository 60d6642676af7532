"""The cluster store over nodes in memory: how often it asks, what it joins, where copies go."""

from __future__ import annotations

import pytest
from support.clock import FakeClock
from support.fake_node import FakeNode
from support.storage import Behind, Views, replica_set

from flask_msm.cluster.health import NodeState, rights
from flask_msm.errors import NodeValueError
from flask_msm.record.attributes import NOTHING, Attributes
from flask_msm.record.envelope import Envelope
from flask_msm.record.keys import Keyring, storage_key
from flask_msm.record.record import Kind, Record, join
from flask_msm.storage.replicated import ClusterStore
from flask_msm.storage.second_looks import SecondLooks
from flask_msm.storage.store import FRESH, Outcome, RecordTooLargeError


KEYS = Keyring(("secret",))
KEY = storage_key("msm:test:", "a" * 43)


def envelope_of(*secrets):
    return Envelope(lambda: Keyring(secrets), codec_id=1, compress_above=None, max_size=5_000)


ENVELOPE = envelope_of("secret")
DEADLINE = 1e9


class NotedViews(Views):
    """Takes note of what the store reports."""

    def __init__(self):
        super().__init__()
        self.states = {}
        self.failures = []
        self.missed = []

    def rights(self, node_id):
        state = self.states.get(node_id, NodeState.UP)
        return rights(state, trusted=node_id not in self.untrusted)

    def failed(self, node_id, error):
        if not isinstance(error, NodeValueError):
            self.failures.append(node_id)

    def left_out(self, node_id, key):
        self.missed.append(node_id)


class Cluster:
    def __init__(self, count=3, replicas=2, *, both=False):
        self.nodes = {f"n{number}": FakeNode(f"n{number}") for number in range(1, count + 1)}
        self.views = NotedViews()
        self.store = ClusterStore(replica_set(self.nodes, self.views, replicas=replicas))
        self.placement = self.store.nodes.placement
        self.behind, self.clock = Behind(), FakeClock()
        if both:
            second_looks = SecondLooks(self.clock)
            self.store = ClusterStore(
                self.store.nodes, second_looks=second_looks, behind=self.behind
            )
        ranking = self.placement.rank(KEY)
        self.first, self.second = self.nodes[ranking[0]], self.nodes[ranking[1]]
        self.third = self.nodes[ranking[2]] if count > 2 else None

    def operations(self):
        done = [operation for node in self.nodes.values() for operation in node.operations]
        for node in self.nodes.values():
            node.operations.clear()
        return sorted(done)

    def load(self, at_least=0):
        return self.store.load(KEY, at_least=at_least, deadline=DEADLINE)

    def create(self, made):
        return self.store.save(
            KEY,
            lambda seen: join(made, seen) if seen else made,
            known=FRESH,
            deadline=DEADLINE,
        )

    def change(self, known, **values):
        """Save as a request does: own changes above the stored ones."""

        def rewrite(seen):
            base = seen or record()
            if base.kind is not Kind.DATA:
                return base
            stamp = base.version + 10
            entries = dict(base.attributes.entries)
            entries.update({name: (stamp, value) for name, value in values.items()})
            return base._replace(version=stamp, attributes=Attributes(entries, {}, 0))

        return self.store.save(KEY, rewrite, known=known, deadline=DEADLINE)

    def seal(self, node, made):
        node.put(KEY, ENVELOPE.seal(made, KEY))

    def stored(self, node):
        found = node.items.get(KEY)
        return ENVELOPE.open(found[0], KEY) if found else None

    def holders(self):
        return {node_id for node_id, node in self.nodes.items() if KEY in node.items}


def record(version=0, **values):
    entries = {name: (version, value) for name, value in values.items()}
    return Record(Kind.DATA, 1.0, 2.0, 1_800_001_000.0, version, Attributes(entries, {}, 0))


def tombstone(version):
    return Record(Kind.DESTROYED, 1.0, 2.0, 1_800_001_000.0, version, NOTHING)


@pytest.fixture
def cluster():
    made = Cluster()
    made.create(record(1, a=b"1"))
    made.operations()
    return made


# -- how often nodes are asked -------------------------------------------------------------------


def test_a_new_session_costs_one_add_for_each_copy():
    cluster = Cluster()

    saved = cluster.create(record(1, a=b"1"))

    assert saved.copies == 2
    assert cluster.operations() == ["add", "add"]
    assert cluster.holders() == set(cluster.placement.homes(KEY))


def test_a_change_after_a_read_costs_a_cas_and_a_gets_and_a_cas(cluster):
    loaded = cluster.load(at_least=1)
    cluster.operations()

    assert cluster.change(loaded, b=b"2").copies == 2
    assert cluster.operations() == ["cas", "cas", "gets"]


def test_a_missing_session_costs_one_gets_on_each_home_and_one_more():
    cluster = Cluster()

    assert cluster.load().outcome is Outcome.MISSING
    assert cluster.operations() == ["gets", "gets", "gets"]


# -- reading -------------------------------------------------------------------------------------


def test_a_copy_older_than_the_token_is_not_enough(cluster):
    cluster.seal(cluster.second, record(9, a=b"9"))

    assert cluster.load(at_least=9).record == record(9, a=b"9")


def test_a_session_older_than_the_token_everywhere_is_served_and_counted(cluster):
    assert cluster.load(at_least=99).record == record(1, a=b"1")
    assert cluster.store.nodes.counters.stale_served == 1


def test_a_copy_on_an_untrusted_node_is_joined_with_the_others(cluster):
    cluster.views.untrusted.add(cluster.first.id)
    cluster.seal(cluster.second, record(9, b=b"9"))

    assert cluster.load(at_least=1).record.attributes.alive() == {"a": b"1", "b": b"9"}


def test_a_joined_record_is_written_back_before_it_is_served(cluster):
    cluster.views.untrusted.add(cluster.first.id)
    cluster.seal(cluster.second, record(9, b=b"9"))

    loaded = cluster.load(at_least=1)

    assert cluster.stored(cluster.first) == cluster.stored(cluster.second) == loaded.record


def test_a_node_that_lost_its_copy_gets_it_back_with_the_next_read(cluster):
    cluster.first.restart_empty()

    assert cluster.load(at_least=1).record == record(1, a=b"1")
    assert cluster.stored(cluster.first) == record(1, a=b"1")


def test_a_draining_node_is_read_but_not_written(cluster):
    cluster.views.states[cluster.first.id] = NodeState.DRAINING

    loaded = cluster.load(at_least=1)
    cluster.change(loaded, b=b"2")

    assert loaded.record == record(1, a=b"1")
    assert cluster.stored(cluster.first) == record(1, a=b"1")
    assert cluster.stored(cluster.third).attributes.alive() == {"a": b"1", "b": b"2"}


def test_a_node_that_is_down_is_not_asked(cluster):
    cluster.views.states[cluster.first.id] = NodeState.DOWN

    assert cluster.load(at_least=1).record == record(1, a=b"1")
    assert cluster.first.operations == []


def test_a_failing_node_is_reported_and_the_backup_answers(cluster):
    cluster.first.fail()

    assert cluster.load(at_least=1).record == record(1, a=b"1")
    assert cluster.first.id in cluster.views.failures


@pytest.mark.parametrize("state", [NodeState.SUSPECT, NodeState.RECOVERING, NodeState.DRAINING])
def test_only_a_trusted_home_may_say_that_a_session_does_not_exist(state):
    cluster = Cluster()
    for node in (cluster.first, cluster.second):
        cluster.views.states[node.id] = state

    assert cluster.load().outcome is Outcome.UNKNOWN


def test_a_session_is_unknown_when_no_node_answers(cluster):
    for node in cluster.nodes.values():
        node.fail()

    assert cluster.load().outcome is Outcome.UNKNOWN


def test_a_miss_of_one_trusted_home_is_enough_while_the_other_is_away():
    cluster = Cluster()
    cluster.first.fail()

    assert cluster.load().outcome is Outcome.MISSING


@pytest.mark.parametrize("state", [NodeState.DOWN, NodeState.RECOVERING, NodeState.DRAINING])
def test_a_home_that_may_lack_values_is_not_believed_alone_that_a_session_is_gone(state):
    cluster = Cluster()
    cluster.views.states[cluster.first.id] = state
    cluster.views.lossy = {cluster.second.id}

    assert cluster.load().outcome is Outcome.UNKNOWN


def test_a_home_that_fails_and_one_that_may_lack_values_cannot_tell():
    cluster = Cluster()
    cluster.first.fail()
    cluster.views.lossy = {cluster.second.id}

    assert cluster.load().outcome is Outcome.UNKNOWN


def test_homes_that_may_lack_values_are_believed_if_all_of_them_say_no():
    cluster = Cluster()
    cluster.views.lossy = set(cluster.nodes)

    assert cluster.load().outcome is Outcome.MISSING


def test_the_word_of_the_only_home_counts_also_if_it_may_lack_values():
    cluster = Cluster(replicas=1)
    cluster.views.lossy = set(cluster.nodes)

    assert cluster.load().outcome is Outcome.MISSING


def test_a_record_found_beside_a_home_that_may_lack_it_is_not_certain(cluster):
    cluster.first.items.clear()
    cluster.second.fail()
    cluster.seal(cluster.third, record(1, a=b"1"))
    cluster.views.lossy = {cluster.first.id}

    assert not cluster.load(at_least=1).certain


def test_a_record_found_beside_a_corrupt_copy_is_not_certain(cluster):
    cluster.first.put(KEY, b"rubbish")
    cluster.views.untrusted.add(cluster.second.id)

    assert not cluster.load(at_least=1).certain


def test_while_memories_moved_a_session_is_looked_for_on_all_nodes():
    cluster = Cluster(5)
    last = cluster.nodes[cluster.placement.rank(KEY)[-1]]
    cluster.seal(last, record(1, a=b"1"))
    cluster.views.untrusted = set(cluster.nodes)
    assert cluster.load().outcome is Outcome.UNKNOWN

    cluster.views.moved = True

    assert cluster.load().record == record(1, a=b"1")
    assert cluster.stored(cluster.first) == record(1, a=b"1")


def test_a_record_found_on_its_homes_is_not_looked_for_on_other_nodes(cluster):
    cluster.views.moved = True

    cluster.load(at_least=1)

    assert cluster.operations() == ["gets"]


# -- keeping both copies young -------------------------------------------------------------------


def test_the_other_home_is_read_beside_the_first_at_the_first_read_and_every_fourth_after():
    cluster = Cluster(both=True)
    cluster.create(record(1, a=b"1"))
    cluster.operations()

    counts = [(cluster.load(at_least=1), len(cluster.operations()))[1] for _ in range(9)]

    assert counts == [2, 1, 1, 1, 2, 1, 1, 1, 2]


def test_after_ten_minutes_the_other_home_is_read_at_the_next_read():
    cluster = Cluster(both=True)
    cluster.create(record(1, a=b"1"))
    cluster.load(at_least=1)
    cluster.operations()

    cluster.clock.advance(600)
    cluster.load(at_least=1)

    assert cluster.operations() == ["gets", "gets"]


def test_a_copy_that_the_other_home_lost_is_made_again_behind_the_response():
    cluster = Cluster(both=True)
    cluster.create(record(1, a=b"1"))
    cluster.second.items.clear()

    assert cluster.load(at_least=1).record == record(1, a=b"1")
    assert cluster.stored(cluster.second) is None
    cluster.behind.run()

    assert cluster.stored(cluster.second) == record(1, a=b"1")


def test_a_copy_made_again_behind_the_response_does_not_undo_a_logout_of_that_moment():
    cluster = Cluster(both=True)
    cluster.create(record(1, a=b"1"))
    cluster.second.items.clear()
    cluster.load(at_least=1)
    for node in (cluster.first, cluster.second):
        cluster.seal(node, tombstone(5))

    cluster.behind.run()

    assert cluster.stored(cluster.first) == cluster.stored(cluster.second) == tombstone(5)


def test_newer_entries_of_the_other_home_are_joined_before_a_record_is_served():
    cluster = Cluster(both=True)
    cluster.create(record(1, a=b"1"))
    cluster.seal(cluster.second, record(9, b=b"9"))

    loaded = cluster.load(at_least=1)

    assert loaded.record.attributes.alive() == {"a": b"1", "b": b"9"}
    assert cluster.stored(cluster.first) == loaded.record


def test_equal_copies_are_not_written():
    cluster = Cluster(both=True)
    cluster.create(record(1, a=b"1"))
    cluster.operations()

    cluster.load(at_least=1)
    cluster.behind.run()

    assert cluster.operations() == ["gets", "gets"]


@pytest.mark.parametrize("state", [NodeState.SUSPECT, NodeState.DOWN, NodeState.DRAINING])
def test_a_home_in_doubt_is_not_read_beside_the_first(state):
    cluster = Cluster(both=True)
    cluster.create(record(1, a=b"1"))
    cluster.views.states[cluster.second.id] = state
    cluster.operations()

    cluster.load(at_least=1)

    assert cluster.operations() == ["gets"]


def test_the_first_copy_is_served_when_the_other_home_fails_beside_it():
    cluster = Cluster(both=True)
    cluster.create(record(1, a=b"1"))
    cluster.second.fail()

    assert cluster.load(at_least=1).record == record(1, a=b"1")
    assert cluster.second.id in cluster.views.failures


def test_a_change_after_both_copies_were_read_costs_no_more_than_a_cas_on_each():
    cluster = Cluster(both=True)
    cluster.create(record(1, a=b"1"))
    loaded = cluster.load(at_least=1)
    cluster.operations()

    cluster.change(loaded, b=b"2")

    assert cluster.operations() == ["cas", "cas"]


# -- records that cannot be used -----------------------------------------------------------------


def test_a_corrupt_copy_is_passed_over_counted_and_repaired(cluster):
    cluster.first.put(KEY, b"rubbish")

    assert cluster.load(at_least=1).record == record(1, a=b"1")
    assert cluster.store.nodes.counters.corrupt == 1
    assert cluster.stored(cluster.first) == record(1, a=b"1")


def test_corrupt_copies_everywhere_are_never_called_missing(cluster):
    for node in (cluster.first, cluster.second):
        node.put(KEY, b"rubbish")

    assert cluster.load(at_least=1).outcome is Outcome.UNKNOWN


def test_a_corrupt_copy_beside_a_miss_of_the_other_home_is_not_missing():
    cluster = Cluster()
    cluster.first.put(KEY, b"rubbish")

    assert cluster.load().outcome is Outcome.UNKNOWN


def test_a_copy_of_another_secret_beside_a_miss_of_the_other_home_is_not_missing():
    cluster = Cluster()
    cluster.first.put(KEY, envelope_of("another").seal(record(1, a=b"1"), KEY))

    assert cluster.load().outcome is Outcome.UNKNOWN


def test_a_record_of_another_session_is_passed_over(cluster):
    other = storage_key("msm:test:", "b" * 43)
    cluster.first.put(KEY, ENVELOPE.seal(record(50, a=b"stolen"), other))

    assert cluster.load(at_least=1).record == record(1, a=b"1")


def test_a_record_with_an_unknown_key_is_neither_missing_nor_overwritten():
    cluster = Cluster()
    foreign = envelope_of("next secret").seal(record(5, a=b"5"), KEY)
    for node in cluster.nodes.values():
        node.put(KEY, foreign)

    loaded = cluster.load()
    saved = cluster.change(loaded, b=b"2")

    assert loaded.outcome is Outcome.UNKNOWN
    assert saved.copies == 0
    assert all(node.items[KEY][0] == foreign for node in cluster.nodes.values())
    assert cluster.store.nodes.counters.unknown_records > 0


def test_beside_a_record_with_an_unknown_key_the_other_copy_is_used(cluster):
    foreign = envelope_of("next secret").seal(record(5, a=b"5"), KEY)
    cluster.first.put(KEY, foreign)

    saved = cluster.change(cluster.load(), b=b"2")

    assert saved.copies == 2
    assert cluster.first.items[KEY][0] == foreign
    assert cluster.stored(cluster.third).attributes.alive() == {"a": b"1", "b": b"2"}


# -- writing -------------------------------------------------------------------------------------


def test_a_parallel_change_is_joined_and_the_own_change_wins_its_name(cluster):
    loaded = cluster.load()
    cluster.change(cluster.load(), a=b"theirs", b=b"theirs")

    cluster.change(loaded, a=b"ours")

    for node in (cluster.first, cluster.second):
        assert cluster.stored(node).attributes.alive() == {"a": b"ours", "b": b"theirs"}


def test_a_write_in_the_middle_of_a_write_is_joined(cluster):
    loaded = cluster.load()
    cluster.first.before["cas"] = lambda: cluster.change(None, b=b"theirs")

    cluster.change(loaded, c=b"ours")

    for node in (cluster.first, cluster.second):
        assert cluster.stored(node).attributes.alive() == {
            "a": b"1",
            "b": b"theirs",
            "c": b"ours",
        }


def test_entries_that_only_the_backup_has_are_written_to_the_primary(cluster):
    cluster.seal(cluster.second, record(9, b=b"9"))
    loaded = cluster.load(at_least=1)

    cluster.change(loaded, c=b"3")

    for node in (cluster.first, cluster.second):
        assert cluster.stored(node).attributes.alive() == {"a": b"1", "b": b"9", "c": b"3"}


def test_a_write_after_a_logout_is_dropped(cluster):
    slow = cluster.load()
    cluster.store.save(KEY, lambda seen: tombstone(50), known=None, deadline=DEADLINE)

    saved = cluster.change(slow, a=b"late")

    assert saved.record.kind is Kind.DESTROYED
    assert cluster.load().record.kind is Kind.DESTROYED


def test_a_write_after_a_logout_is_dropped_when_only_the_backup_remembers_it(cluster):
    slow = cluster.load()
    cluster.store.save(KEY, lambda seen: tombstone(50), known=None, deadline=DEADLINE)
    cluster.first.restart_empty()

    saved = cluster.change(slow, a=b"late")

    assert saved.record.kind is Kind.DESTROYED
    assert cluster.stored(cluster.first).kind is Kind.DESTROYED


def test_with_queued_copies_a_vanished_primary_still_asks_the_backup_for_a_tombstone(cluster):
    slow = cluster.load()
    cluster.store.save(KEY, lambda seen: tombstone(50), known=None, deadline=DEADLINE)
    cluster.first.restart_empty()
    cluster.store._background = type("Queue", (), {"put": lambda self, job: True})()

    assert cluster.change(slow, a=b"late").record.kind is Kind.DESTROYED


def test_with_queued_copies_a_logout_is_on_every_home_before_it_is_answered(cluster):
    behind = Behind()
    store = ClusterStore(cluster.store.nodes, background=behind)

    store.save(KEY, lambda _: tombstone(9), known=cluster.load(), deadline=DEADLINE)

    assert cluster.stored(cluster.first) == cluster.stored(cluster.second) == tombstone(9)
    assert behind.jobs == []


def test_after_a_conflict_no_node_is_written_before_all_were_read(cluster):
    loaded = cluster.load(at_least=1)
    cluster.operations()
    cluster.first.before["cas"] = lambda: cluster.seal(cluster.first, record(5, z=b"5"))

    cluster.change(loaded, b=b"2")

    # The refused one and the read beside it; then a read; then one write for each.
    assert cluster.operations() == ["cas", "cas", "cas", "gets", "gets"]


def test_a_node_that_failed_a_moment_ago_is_left_alone_while_there_are_others(cluster):
    loaded = cluster.load(at_least=1)._replace(failed=frozenset({cluster.first.id}))

    saved = cluster.change(loaded, b=b"2")

    assert saved.holders == {cluster.second.id, cluster.third.id}


def test_a_copy_that_vanished_is_written_anew(cluster):
    loaded = cluster.load()
    cluster.first.restart_empty()

    assert cluster.change(loaded, b=b"2").copies == 2
    assert cluster.stored(cluster.first).attributes.alive() == {"a": b"1", "b": b"2"}


def test_a_failing_home_is_replaced_by_the_next_in_the_ranking(cluster):
    loaded = cluster.load()
    cluster.second.fail()

    saved = cluster.change(loaded, b=b"2")

    assert saved.copies == 2
    assert saved.relocated
    assert cluster.stored(cluster.third).attributes.alive() == {"a": b"1", "b": b"2"}
    assert cluster.views.missed == [cluster.second.id]


def test_a_record_that_is_too_large_is_refused_and_the_old_one_stays(cluster):
    with pytest.raises(RecordTooLargeError) as caught:
        cluster.change(cluster.load(), big=b"x" * 6000)

    assert caught.value.limit == 5_000
    assert caught.value.size > 6_000
    assert caught.value.largest == "big"
    assert cluster.load().record == record(1, a=b"1")


def test_the_limit_is_what_the_smallest_home_takes(cluster):
    cluster.second.item_size_max = 2_512

    with pytest.raises(RecordTooLargeError) as caught:
        cluster.change(cluster.load(), big=b"x" * 3000)

    assert caught.value.limit == 2_000


def test_a_home_that_refuses_a_value_is_not_missed_and_another_node_takes_it(cluster):
    cluster.first.refuses = {KEY}

    saved = cluster.change(cluster.load(), b=b"2")

    assert saved.holders == {cluster.second.id, cluster.third.id}
    assert (saved.refused, saved.failed) == ({cluster.first.id}, frozenset())
    assert cluster.views.missed == cluster.views.failures == []


def test_a_record_that_every_node_refuses_is_stored_nowhere_and_counts_as_no_missed_write(cluster):
    for node in cluster.nodes.values():
        node.refuses = {KEY}

    saved = cluster.change(cluster.load(), b=b"2")

    assert saved.copies == 0
    assert saved.refused == set(cluster.nodes)
    assert cluster.views.missed == []


def test_where_a_logout_is_refused_no_copy_from_before_stays(cluster):
    cluster.first.refuses = {KEY}

    cluster.store.save(KEY, lambda _: tombstone(9), known=cluster.load(), deadline=DEADLINE)

    assert cluster.stored(cluster.first) is None
    assert cluster.stored(cluster.second) == tombstone(9)
    assert cluster.views.missed == []


def test_a_home_that_refuses_a_logout_and_keeps_its_copy_is_missed(cluster):
    cluster.first.refuses = {KEY}
    cluster.first.before["delete"] = cluster.first.hang

    cluster.store.save(KEY, lambda _: tombstone(9), known=cluster.load(), deadline=DEADLINE)

    assert cluster.views.missed == [cluster.first.id]


def test_holders_are_the_nodes_that_have_it_and_answer(cluster):
    cluster.first.fail()

    assert cluster.store.holders(KEY, DEADLINE) == (cluster.second.id,)


def test_all_nodes_are_asked_for_holders_before_one_is_waited_for(cluster, monkeypatch):
    begun, waited_for = [], []
    for node in cluster.nodes.values():
        ask = node.start_gets

        def start(key, deadline, *, ask=ask, node=node):
            begun.append(node.id)
            return ask(key, deadline)

        monkeypatch.setattr(node, "start_gets", start)
        node.before["gets"] = lambda: waited_for.append(list(begun))

    cluster.store.holders(KEY, DEADLINE)

    assert waited_for == [list(cluster.nodes)] * 3


@pytest.mark.parametrize("takes", [True, False])
def test_with_queued_copies_a_full_queue_makes_the_request_write_its_copies(cluster, takes):
    jobs = []
    queue = type("Queue", (), {"put": lambda self, job: takes and not jobs.append(job)})()
    store = ClusterStore(cluster.store.nodes, background=queue)
    made = record(3, a=b"1")

    store.save(KEY, lambda _: made, known=FRESH, deadline=DEADLINE)
    assert cluster.stored(cluster.first) == made
    assert (cluster.stored(cluster.second) == made) is not takes
    for job in jobs:
        job(DEADLINE)

    assert cluster.stored(cluster.second) == made
    assert store.nodes.counters.queued == len(jobs) == takes


def test_with_queued_copies_a_change_that_no_node_takes_is_not_queued(cluster):
    behind = Behind()
    store = ClusterStore(cluster.store.nodes, background=behind)
    for node in cluster.nodes.values():
        node.fail()

    saved = store.save(KEY, lambda _: record(3), known=FRESH, deadline=DEADLINE)

    assert not saved.copies
    assert behind.jobs == []


def test_copies_of_one_session_are_brought_together_and_the_holders_returned(cluster):
    cluster.seal(cluster.first, record(5, a=b"5"))
    cluster.seal(cluster.second, record(3, b=b"3"))

    holders = cluster.store.rejoin(KEY, DEADLINE)

    assert holders == {cluster.first.id, cluster.second.id}
    assert cluster.stored(cluster.first) == cluster.stored(cluster.second)
    assert set(cluster.stored(cluster.first).attributes.entries) == {"a", "b"}


def test_a_session_that_does_not_exist_lacks_no_copy(cluster):
    assert cluster.store.rejoin(KEY, DEADLINE) >= {cluster.first.id, cluster.second.id}


def test_of_a_session_that_no_node_can_be_asked_for_no_copy_is_confirmed(cluster):
    for node in cluster.nodes.values():
        node.fail()

    assert cluster.store.rejoin(KEY, DEADLINE) == frozenset()


def test_a_join_that_is_too_large_is_served_and_its_copies_stay_as_they_are(cluster):
    first, second = record(5, a=b"x" * 3_000), record(4, b=b"y" * 3_000)
    cluster.seal(cluster.first, first)
    cluster.seal(cluster.second, second)
    cluster.views.untrusted = set(cluster.nodes)

    loaded = cluster.load()

    assert set(loaded.record.attributes.entries) == {"a", "b"}
    assert cluster.stored(cluster.first) == first
    assert cluster.stored(cluster.second) == second


def test_after_so_many_sessions_second_looks_are_counted_anew():
    looks = SecondLooks(FakeClock(), limit=3)
    assert all(looks.due(str(number)) for number in range(3))
    assert not looks.due("0")

    assert looks.due("one more")

    assert looks.due("0")
