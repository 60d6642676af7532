"""Small changes of meaning, each of which some test has to notice.

A list of its own instead of a library: those tried change signatures and constants at random, and
each of their mutants costs a run of the whole suite.
"""

from __future__ import annotations

from typing import NamedTuple


class Mutation(NamedTuple):
    """One change.

    Attributes:
        meaning: What is wrong afterwards.
        path: File it is made in, below ``flask_msm``.
        before: Text that stands there once.
        after: Text in its place.
        tests: Tests that have to notice, below ``tests/unit``.
    """

    meaning: str
    path: str
    before: str
    after: str
    tests: str


CLUSTER, FAILOVER, FLEET = "test_cluster_store.py", "test_failover.py", "test_fleet.py"
REBUILDER, RECORD, IDENTITY = "test_rebuilder.py", "test_record.py", "test_identity.py"
ENVELOPE, ATTRIBUTES, HANDOVER = "test_envelope.py", "test_attributes.py", "test_handover.py"

MUTATIONS = [
    # -- records -----------------------------------------------------------------------------
    Mutation(
        "an entry exactly at the floor lives",
        "record/attributes.py",
        "if entry[0] > floor}",
        "if entry[0] >= floor}",
        ATTRIBUTES,
    ),
    Mutation(
        "of two values of one stamp the smaller wins",
        "record/attributes.py",
        "return entry[1] > over[1]",
        "return entry[1] < over[1]",
        ATTRIBUTES,
    ),
    Mutation(
        "a value wins over a removal of the same stamp",
        "record/attributes.py",
        "return entry[1] is None\n    return entry[1]",
        "return entry[1] is not None\n    return entry[1]",
        ATTRIBUTES,
    ),
    Mutation(
        "a tombstone keeps what the session held",
        "record/record.py",
        "if kind is Kind.DESTROYED:",
        "if kind is None:",
        RECORD,
    ),
    Mutation(
        "a tombstone loses where the session moved to",
        "record/record.py",
        "pointer = max(filter(None, (one.pointer, other.pointer)), default=None)",
        "pointer = None",
        RECORD,
    ),
    Mutation(
        "a join forgets the younger version",
        "record/record.py",
        "max(one.version, other.version),",
        "min(one.version, other.version),",
        RECORD,
    ),
    Mutation(
        "a cut deflate stream passes",
        "record/envelope.py",
        "if not inflater.eof:",
        "if False:",
        ENVELOPE,
    ),
    Mutation(
        "a record of another codec is opened",
        "record/envelope.py",
        "if codec != self.codec_id:",
        "if False:",
        ENVELOPE,
    ),
    Mutation(
        "a changed record is opened",
        "record/envelope.py",
        "if not is_signed(data, key, secret):",
        "if False:",
        ENVELOPE,
    ),
    Mutation(
        "a record counts although a change is damaged",
        "record/segments.py",
        "if self.damaged:",
        "if False:",
        "test_segments.py",
    ),
    Mutation(
        "a record counts although a change before another is missing",
        "record/segments.py",
        "if after not in known and after >= self.base.version:",
        "if False:",
        "test_segments.py",
    ),
    Mutation(
        "one stamp is issued twice",
        "record/hybrid_clock.py",
        "max(now_ms, self._last_ms + 1, floor_ms)",
        "max(now_ms, self._last_ms, floor_ms)",
        "test_stamp.py",
    ),
    # -- reading -----------------------------------------------------------------------------
    Mutation(
        "a corrupt copy counts as not there",
        "storage/replicated.py",
        "self.unsure |= record is None and copy is not ABSENT",
        "self.unsure |= False",
        CLUSTER,
    ),
    Mutation(
        "a record that only others can read counts as not there",
        "storage/replicated.py",
        "self.unsure = True\n            return",
        "return",
        CLUSTER,
    ),
    Mutation(
        "one home that dropped values is believed alone",
        "storage/replicated.py",
        "some_said = bool(self.said_no) and not any(map(self.nodes.views.may_lack, self.said_no))",
        "some_said = bool(self.said_no)",
        CLUSTER,
    ),
    Mutation(
        "a home that is not trusted may say that a session does not exist",
        "storage/replicated.py",
        "elif copy is ABSENT and rights.missing:",
        "elif copy is ABSENT:",
        CLUSTER,
    ),
    Mutation(
        "a copy on a home that is not trusted is enough",
        "storage/replicated.py",
        "self.enough |= rights.alone and record.version >= self.at_least",
        "self.enough |= record.version >= self.at_least",
        CLUSTER,
    ),
    Mutation(
        "a copy older than the token is enough",
        "storage/replicated.py",
        "self.enough |= rights.alone and record.version >= self.at_least",
        "self.enough |= rights.alone",
        CLUSTER,
    ),
    Mutation(
        "what was joined is not written back",
        "storage/replicated.py",
        "loaded if read.looks == 1 else self._written_back(",
        "loaded if True else self._written_back(",
        CLUSTER,
    ),
    Mutation(
        "a copy that a home lost is not made again",
        "storage/replicated.py",
        "if lost and record is not None and self._behind is not None:",
        "if False:",
        CLUSTER,
    ),
    Mutation(
        "homes in doubt are read beside the first",
        "storage/replicated.py",
        "if not all(self.nodes.views.rights(node_id).alone for node_id in read.homes):",
        "if False:",
        CLUSTER,
    ),
    Mutation(
        "sessions are not looked for where memories moved to",
        "storage/replicated.py",
        "if read.seen is None and self.nodes.views.scattered():",
        "if False:",
        CLUSTER,
    ),
    Mutation(
        "the other home is never read",
        "storage/second_looks.py",
        "return count % EVERY == 0",
        "return False",
        CLUSTER,
    ),
    # -- writing -----------------------------------------------------------------------------
    Mutation(
        "a logout may wait with MSM_BACKUP_ASYNC",
        "storage/replicated.py",
        "if saved.record.kind is not Kind.DATA:",
        "if False:",
        f"{CLUSTER} test_destroy.py test_lifecycle.py",
    ),
    Mutation(
        "a node that was not read is written in every round",
        "storage/replicated_write.py",
        "may_put=number == 0 or not self.is_blind()",
        "may_put=True",
        CLUSTER,
    ),
    Mutation(
        "a node to avoid is not avoided",
        "storage/replicated_write.py",
        "[node_id for node_id in usable if node_id not in avoid] or usable",
        "usable",
        f"{CLUSTER} {FAILOVER}",
    ),
    Mutation(
        "a home that was left out is not missed",
        "storage/replicated_write.py",
        "self.nodes.left_out(node_id, self.key)",
        "pass",
        CLUSTER,
    ),
    Mutation(
        "a home that refused a value is missed",
        "storage/replicated_write.py",
        "if mine.kind is Kind.DATA:\n            return True",
        "if mine.kind is Kind.DATA:\n            return False",
        CLUSTER,
    ),
    Mutation(
        "the copy from before a logout stays where that is refused",
        "storage/replicated_write.py",
        "self.nodes.clients[node_id].delete(self.key, self.deadline)",
        "pass",
        CLUSTER,
    ),
    Mutation(
        "no tombstone is looked for when a copy vanished",
        "storage/replicated_write.py",
        "if gone:",
        "if False:",
        CLUSTER,
    ),
    Mutation(
        "the limit of the smallest node is not obeyed",
        "storage/replica_set.py",
        "limit = min(limit, self.clients[node_id].largest)",
        "limit = self.max_size",
        CLUSTER,
    ),
    Mutation(
        "a refused cas is not read again",
        "storage/copy_writer.py",
        "elif reply is False:\n            self.standing = WriterState.BLIND",
        "elif reply is False:\n            self.standing = WriterState.KNOWN",
        CLUSTER,
    ),
    # -- this host ---------------------------------------------------------------------------
    Mutation(
        "a session that ended is opened by an old copy",
        "storage/failover.py",
        "if self.ended_sessions.has(key):",
        "if False:",
        FAILOVER,
    ),
    Mutation(
        "nodes that lost their memory are believed over this host",
        "storage/failover.py",
        "gone = missing and self.remembers(loaded.said_no, deadline)",
        "gone = missing",
        FAILOVER,
    ),
    Mutation(
        "nodes that lost their memory are believed where this host has nothing",
        "storage/failover.py",
        "if loaded.outcome is Outcome.MISSING and not self.remembers(loaded.said_no, deadline):",
        "if False:",
        FAILOVER,
    ),
    Mutation(
        "what is too large is kept here however much it grew",
        "storage/failover.py",
        "if size <= error.limit or error.size > size:",
        "if False:",
        FAILOVER,
    ),
    Mutation(
        "sessions that nodes refuse keep others here",
        "storage/failover.py",
        "if saved.refused and not saved.failed:",
        "if False:",
        HANDOVER,
    ),
    # -- rebuilds ----------------------------------------------------------------------------
    Mutation(
        "a rebuild answers misses that come later",
        "maintenance/rebuild.py",
        "began = self._control.standing(node_id).missed + 1",
        "began = self._control.standing(node_id).missed + 10**15",
        REBUILDER,
    ),
    Mutation(
        "one pass instead of four",
        "maintenance/rebuild.py",
        "MAX_PASSES = 4",
        "MAX_PASSES = 1",
        REBUILDER,
    ),
    Mutation(
        "a rebuild goes on under the lease of another worker",
        "maintenance/rebuild.py",
        "if lease is None or not lease.acquire():",
        "if lease is None or lease.acquire() is None:",
        REBUILDER,
    ),
    Mutation(
        "a rebuild counts although the memory was exchanged",
        "maintenance/rebuild.py",
        "if self._memory(node_id) != memory:",
        "if False:",
        REBUILDER,
    ),
    Mutation(
        "a rebuild counts although another worker can read more",
        "maintenance/rebuild.py",
        "if readable:",
        "if False:",
        REBUILDER,
    ),
    Mutation(
        "records that only others can read are not copied",
        "maintenance/copier.py",
        "tally.foreign.append(key)",
        "pass",
        REBUILDER,
    ),
    Mutation(
        "the copier overwrites what must be left alone",
        "maintenance/copier.py",
        "if not found.needs and not needs_there:",
        "if not found.needs:",
        REBUILDER,
    ),
    Mutation(
        "expired records are copied",
        "maintenance/copier.py",
        "if joined.expires_at <= now:",
        "if False:",
        REBUILDER,
    ),
    Mutation(
        "the copier does not try again what a request changed",
        "maintenance/copier.py",
        "exchange.result() or self._again(key, record, target)",
        "exchange.result()",
        REBUILDER,
    ),
    Mutation(
        "an old copy stays where a logout is refused",
        "maintenance/copier.py",
        "if record.kind is not Kind.DATA:",
        "if False:",
        REBUILDER,
    ),
    # -- trust -------------------------------------------------------------------------------
    Mutation(
        "a rebuild that began at the miss answers it",
        "cluster/trust.py",
        "self.rebuilt > self.missed",
        "self.rebuilt >= self.missed",
        f"{FLEET} test_rebuilder.py test_retries.py",
    ),
    Mutation(
        "a node that was rebuilt at its loss is not empty",
        "cluster/control.py",
        "self.standing(node_id).rebuilt <= at}",
        "self.standing(node_id).rebuilt < at}",
        f"{FLEET} {IDENTITY}",
    ),
    Mutation(
        "another memory under an id is not noticed",
        "cluster/control.py",
        "kept = shown == noted if noted and shown else had_it or not known",
        "kept = had_it or not known",
        IDENTITY,
    ),
    Mutation(
        "a new node is trusted",
        "cluster/control.py",
        'self.set_missed(node_id, "is new")',
        "pass",
        f"{FLEET} {IDENTITY}",
    ),
    Mutation(
        "a drain that ends undoes what was ordered since",
        "cluster/control.py",
        "return self.shared.replace(_DRAIN + node_id, entry, stamp=ordered)",
        "return bool(self.shared.put(_DRAIN + node_id, entry))",
        f"{FLEET} test_rebuild_starter.py",
    ),
    Mutation(
        "two ids of one memory count as two",
        "maintenance/membership.py",
        "self._twins = frozenset(twins)",
        "self._twins = frozenset()",
        IDENTITY,
    ),
    Mutation(
        "another fleet on the same keys is believed",
        "maintenance/membership.py",
        "return self._informed and not self._differ and not self._foreign",
        "return self._informed and not self._differ",
        IDENTITY,
    ),
    Mutation(
        "workers that see different memories do not notice",
        "cluster/workers.py",
        "return any(left != right and _UNSEEN not in (left, right) for left, right in pairs)",
        "return False",
        IDENTITY,
    ),
    Mutation(
        "the fast path opens a session that ended",
        "storage/fast_path.py",
        "and key[-DIGEST_LENGTH:] not in self._ended.shared.record.attributes.entries",
        "",
        "test_fast_path.py",
    ),
    Mutation(
        "the fast path believes a home that does not count alone",
        "storage/fast_path.py",
        "and self._router.now.alone.issuperset(homes)",
        "",
        "test_fast_path.py",
    ),
    Mutation(
        "the fast path returns what is older than the token",
        "storage/fast_path.py",
        "if record is None or record.version < at_least or record.created == PARTIAL:",
        "if record is None or record.created == PARTIAL:",
        "test_fast_path.py",
    ),
    Mutation(
        "the fast path takes a part for the whole",
        "storage/fast_path.py",
        "if record is None or record.version < at_least or record.created == PARTIAL:",
        "if record is None or record.version < at_least:",
        "test_fast_path.py",
    ),
    Mutation(
        "the fast path does not look at what waits on this host",
        "storage/fast_path.py",
        "if self._store.local.may_be_dirty(key):",
        "if False:",
        "test_fast_path.py",
    ),
    Mutation(
        "two copies that differ are taken for one",
        "storage/fast_path.py",
        "if other.value != item.value and self._opened(key, other.value, keys) != record:",
        "if False:",
        "test_fast_path.py",
    ),
    Mutation(
        "a change is written over a copy that is another one",
        "storage/fast_path.py",
        "if item is None or not self._is(base, key, item.value, keys):",
        "if item is None:",
        "test_fast_path.py",
    ),
    Mutation(
        "the fast path writes what the homes do not take",
        "storage/fast_path.py",
        "if len(data) > LARGEST or len(data) > routing.limit:",
        "if len(data) > LARGEST:",
        "test_fast_path.py",
    ),
    Mutation(
        "a second look that found nothing is not made again",
        "storage/fast_path.py",
        "            self._second_looks.take_back(key)\n",
        "",
        "test_fast_path.py",
    ),
    Mutation(
        "a copy that was seen before is written over on any connection",
        "storage/fast_path.py",
        "if token is not None and token.horizon < self._quick[node_id].pool.youngest:",
        "if False:",
        "test_fast_path.py",
    ),
    Mutation(
        "what another wrote behind a change counts as that change",
        "storage/fast_path.py",
        "elif item is not None and item.value == data:",
        "elif item is not None:",
        "test_fast_path.py",
    ),
    Mutation(
        "a large record is believed whatever its cas id",
        "storage/fast_path.py",
        'if node.receive_line(sent) != b"HD c%b\\r\\n" % unique:',
        "if not node.receive_line(sent):",
        "test_fast_path.py",
    ),
    Mutation(
        "a large record stays known that was changed on the usual way",
        "storage/fast_path.py",
        "        self._known.large.pop(key, None)\n",
        "",
        "test_fast_path.py",
    ),
    Mutation(
        "a mark is set without a sound",
        "storage/local/journal.py",
        "            self._bell.ring()\n",
        "",
        "test_marks.py",
    ),
    Mutation(
        "the bell is read after the marks",
        "storage/local/journal.py",
        "self._seen = seen = number[0], frozenset(self._names())",
        "self._seen = seen = tuple(reversed((frozenset(self._names()), number[0])))",
        "test_marks.py",
    ),
    Mutation(
        "the tokens of a copy outlive its record",
        "storage/known_records.py",
        "return known.tokens if known is not None and known.record is record else _NO_TOKENS",
        "return known.tokens if known is not None else _NO_TOKENS",
        "test_known_records.py",
    ),
    Mutation(
        "a change of the mode does not reach requests",
        "cluster/mode.py",
        "            self.changed()\n",
        "",
        "test_routing.py",
    ),
    Mutation(
        "a record stays known when the secrets are others",
        "storage/known_records.py",
        "known.data == data and known.keys is keys",
        "known.data == data",
        "test_known_records.py",
    ),
    # -- sessions that are decoded attribute by attribute ---------------------------------------
    Mutation(
        "what is set without being read is compared with nothing",
        "sessions/changes.py",
        "if stored is None and name in undecoded:",
        "if False:",
        "test_lazy_decoding.py",
    ),
    Mutation(
        "what can change inside is not compared when it was read",
        "sessions/changes.py",
        "if name is PLACEHOLDER or (same and type(value) in IMMUTABLE):",
        "if name is PLACEHOLDER or same:",
        "test_lazy_decoding.py",
    ),
    Mutation(
        "what is pinned is stored as it is when it changes",
        "sessions/changes.py",
        "if undecoded is None or selective or self.left is not None:",
        "if undecoded is None or self.left is not None:",
        "test_lazy_decoding.py",
    ),
    Mutation(
        "a part of a session is taken for the whole",
        "sessions/unit_of_work.py",
        "record.kind is not Kind.DATA or record.created == PARTIAL:",
        "record.kind is not Kind.DATA:",
        "test_detached.py",
    ),
    Mutation(
        "what may be elsewhere only is taken for absent",
        "sessions/unit_of_work.py",
        "if token.local or not (loaded.certain or record.version >= token.version):",
        "if token.local:",
        "test_failover_habits.py",
    ),
    Mutation(
        "live objects are not put in their places",
        "sessions/unit_of_work.py",
        "if token.local or not (loaded",
        "if not (loaded",
        "test_policy_local.py",
    ),
    Mutation(
        "weak attributes are not shown",
        "sessions/unit_of_work.py",
        "if weak or serialization.attribute_filter",
        "if serialization.attribute_filter",
        "test_detached.py",
    ),
    Mutation(
        "a session that is over is loaded",
        "sessions/unit_of_work.py",
        "if not lives and not request.is_alive(record):",
        "if False:",
        "test_expiry.py",
    ),
    Mutation(
        "what is read is never refreshed",
        "interface.py",
        "        if unit.request.is_refresh_due(unit.record):\n            return False\n",
        "",
        "test_expiry.py",
    ),
    Mutation(
        "a permanent session that is read gets no cookie",
        "interface.py",
        'not (app.config["SESSION_REFRESH_EACH_REQUEST"] and session.permanent)',
        "True",
        "test_expiry.py test_headers.py",
    ),
    Mutation(
        "a refresh in the middle of a request sets no cookie",
        "interface.py",
        "or unit.action is not Action.KEEP:",
        ":",
        "test_expiry.py",
    ),
]
