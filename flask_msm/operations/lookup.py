"""One session for an operator: where it is and how old, never what is in it; and its end."""

from __future__ import annotations

from dataclasses import replace
from math import inf
from typing import TYPE_CHECKING

from flask_msm.errors import CommandError, CorruptRecordError, NodeError, UnknownRecordError
from flask_msm.record.codec.kinds import kind_of
from flask_msm.record.codec.msgpack import MsgpackCodec
from flask_msm.record.hybrid_clock import milliseconds
from flask_msm.record.keys import DIGEST_LENGTH, REF_LENGTH, digest_of, ref_of, storage_key
from flask_msm.record.record import BEHIND, ENDING_LENGTH, Kind, join_optional
from flask_msm.record.token import sid_of, signer_for
from flask_msm.sessions.record_builder import SLACK
from flask_msm.sessions.repository import Budget

from . import snapshot as doc


if TYPE_CHECKING:
    from collections.abc import Callable

    from flask_msm.application import Application
    from flask_msm.memcached.protocol import Item
    from flask_msm.process.clock import Clock
    from flask_msm.record.keys import Secrets
    from flask_msm.record.record import Record
    from flask_msm.record.token import Token
    from flask_msm.settings.settings import Settings

#: A cookie longer than this is none of ours, characters.
LONGEST = 4096

#: How a session ends that an operator ends; the reason stands behind it, after a colon.
REVOKED = "revoked"
#: Characters of an operator's name that are kept with the end.
NAME_LENGTH = 40


class SessionLookup:
    """Finds sessions by their public name or their cookie.

    *life* returns the time in seconds a session lives without a request.
    """

    def __init__(
        self,
        parts: Application,
        settings: Settings,
        *,
        secrets: Callable[[], Secrets],
        clock: Clock,
        life: Callable[[], float],
    ) -> None:
        self._parts = parts
        self._settings = settings
        self._secrets = secrets
        self._clock = clock
        self._life = life

    def find(self, ref_or_cookie: str) -> doc.SessionFacts | None:
        """Return what is known of a session; ``None`` when nothing is left of that ref.

        Raises:
            CommandError: What was given is neither, or nodes that may know cannot be asked.
        """
        text = ref_or_cookie.strip()
        if len(text) == REF_LENGTH and not text.strip("0123456789abcdef"):
            key = self._key_of(text)
            return self._facts(key) if key else None
        token = signer_for(self._secrets()).loads(text) if len(text) <= LONGEST else None
        if token is not None:
            return self._of_cookie(token)
        sid = sid_of(text)
        found = self._of_unknown_key(sid) if sid else None
        if found is None:
            raise CommandError(
                "that is neither a ref (ten hexadecimal digits, as logs show it) nor a cookie that"
                " was signed here"
            )
        return found

    def end(self, handle: str, *, by: str, reason: str) -> str:
        """End a session everywhere, as the operator *by* wants; return its ref.

        Both are kept with its end, as far as there is room.

        Raises:
            CommandError: Nodes that may know cannot be asked, or there is no such session.
        """
        key = self._settings.key_prefix + handle
        if len(handle) != DIGEST_LENGTH or digest_of(key) != handle:
            raise CommandError("that is not the handle of a session")
        if self._facts(key) is None:
            raise CommandError(f"there is no session {ref_of(key)}")
        repository = self._parts.repository
        budget = Budget(self._settings.request_deadline)
        by = by[:NAME_LENGTH]
        how = f"{REVOKED}: {reason}"[: ENDING_LENGTH - len(by)] if reason else REVOKED
        repository.end(key, budget, repository.builder(self._life()), how=how, by=by)
        return ref_of(key)

    def _of_cookie(self, token: Token) -> doc.SessionFacts:
        """Return what became of the session of a cookie that was signed here."""
        key = storage_key(self._settings.key_prefix, token.sid)
        found, cluster = self._facts(key), self._parts.cluster
        is_old = token.renewed + self._life() * SLACK < self._clock.time()
        if found is None:
            has_ended = cluster is not None and cluster.ended_sessions.has(key)
            fate: doc.Fate = "ended" if has_ended else "expired" if is_old else "lost"
            return self._without_record(key, fate, renewed=float(token.renewed))
        return replace(found, fate="expired") if found.fate == "lives" and is_old else found

    def _of_unknown_key(self, sid: str) -> doc.SessionFacts | None:
        """Return the session *sid* if nodes hold it, signed with a key that is not known here."""
        key, cluster = storage_key(self._settings.key_prefix, sid), self._parts.cluster
        holders = []
        for node_id, node in (cluster.nodes if cluster else {}).items():
            try:
                item = node.start_gets(key, self._deadline()).result()
            except NodeError:
                continue
            if item is not None and self._parts.envelope.is_of_unknown_key(item.value):
                holders.append(node_id)
        found = self._without_record(key, "key_unknown", renewed=None)
        return replace(found, holders=tuple(holders)) if holders else None

    def _without_record(
        self, key: str, fate: doc.Fate, *, renewed: float | None
    ) -> doc.SessionFacts:
        return doc.SessionFacts(
            ref=ref_of(key),
            handle=digest_of(key) or "",
            home_nodes=self._parts.placement.homes(key),
            renewed=renewed,
            fate=fate,
        )

    def _key_of(self, ref: str) -> str | None:
        """Return the storage key that begins with *ref*, from all that list their keys."""
        prefix = self._settings.key_prefix + ref
        cluster = self._parts.cluster
        unlisted = []
        found = {key for key in self._local_keys() if key.startswith(prefix)}
        for node_id, node in (cluster.nodes if cluster else {}).items():
            try:
                found |= set(node.metadump(prefix, self._deadline()))
            except NodeError:
                unlisted.append(node_id)
        keys = sorted(key for key in found if digest_of(key))
        if not keys and unlisted:
            raise CommandError(
                f"{', '.join(unlisted)} cannot list keys now; look the session up by its cookie"
            )
        return keys[0] if keys else None

    def _local_keys(self) -> list[str]:
        local = self._parts.local
        return local.all_keys() if local.shelf else []

    def _facts(self, key: str) -> doc.SessionFacts | None:
        """Ask all that may hold *key*."""
        parts = self._parts
        copies: dict[str, Record] = {}
        silent = []
        for node_id, node in (parts.cluster.nodes if parts.cluster else {}).items():
            try:
                item = node.start_gets(key, self._deadline()).result()
                copy = self._opened(item, key)
            except (NodeError, UnknownRecordError):
                silent.append(node_id)
                continue
            if copy is not None:
                copies[node_id] = copy
        near = parts.local.load(key, at_least=0, deadline=self._deadline()).record
        record = near
        for copy in copies.values():
            record = join_optional(record, copy)
        if record is None:
            homes = set(parts.placement.homes(key))
            if homes & set(silent):
                raise CommandError(
                    f"{', '.join(silent)} cannot be asked now: the session may be there"
                )
            return None
        ending, how, reason = record.ending, "", ""
        if ending is not None:
            how, _, reason = ending.how.partition(": ")
        moved = record.pointer if record.kind is Kind.ALIAS else None
        ended_at = ending.at if ending else None
        return doc.SessionFacts(
            ref=ref_of(key),
            handle=digest_of(key) or "",
            fate=self._fate(record),
            ended_at=milliseconds(moved.stamp) / 1000 if moved else ended_at,
            ended_how=how or None,
            ended_by=(ending.by or None) if ending else None,
            ended_reason=reason or None,
            moved_to=ref_of(moved.key) if moved else None,
            version=str(record.version),
            home_nodes=parts.placement.homes(key),
            holders=tuple(copies),
            behind=tuple(id_ for id_, copy in copies.items() if copy.version < record.version),
            local=near is not None,
            size=len(parts.envelope.seal(record, key)),
            created=None if record.created >= BEHIND else record.created,
            renewed=record.renewed,
            expires_at=min(record.expires_at, self._over(record)),
            destroyed=record.kind is Kind.DESTROYED,
            attributes=tuple(
                (name, self._kind(encoded))
                for name, encoded in sorted(record.attributes.alive().items())
            ),
        )

    def _fate(self, record: Record) -> doc.Fate:
        if record.kind is not Kind.DATA:
            return "ended" if record.kind is Kind.DESTROYED else "moved"
        ends = min(record.expires_at, self._over(record))
        return "expired" if ends < self._clock.time() else "lives"

    def _over(self, record: Record) -> float:
        """Return when the session ends although it is used, seconds since the epoch."""
        limit = self._settings.absolute_timeout
        return inf if limit is None else record.created + limit

    def _kind(self, encoded: bytes) -> str | None:
        """Return the type that a value is stored as, if the built-in codec wrote it."""
        is_built_in = self._parts.envelope.codec_id == MsgpackCodec.id
        return kind_of(encoded) if is_built_in else None

    def _opened(self, item: Item | None, key: str) -> Record | None:
        if item is None:
            return None
        try:
            return self._parts.envelope.open(item.value, key)
        except CorruptRecordError:
            return None

    def _deadline(self) -> float:
        return self._clock.monotonic() + self._settings.request_deadline
