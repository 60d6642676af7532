"""The journals of this host as a part of local storage: read beside it, taken over into it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask_msm.errors import CorruptRecordError, UnknownRecordError
from flask_msm.record.keys import digest_of
from flask_msm.record.record import join_optional

from .journal_tails import JournalTails
from .journal_takeover import Joined, TakenOver, Takeover


if TYPE_CHECKING:
    from collections.abc import Callable

    from flask_msm.record.envelope import Envelope
    from flask_msm.record.record import Record

    from .backend import BackendOpener


class HostJournals:
    """What workers of this host acknowledged and have not handed over.

    Args:
        shelves: Where the folder of the journals is, if workers share one.
        keep: Joins a record into local storage, as one that nodes do not have; returns whether
            it is there.
        report: Called with what was found when journals were taken over: a kind, and a text.

    Attributes:
        taken: How many journals of dead workers were taken over.
        damaged: How many places or records in them could not be used.
    """

    def __init__(
        self,
        shelves: BackendOpener,
        envelope: Envelope,
        prefix: str,
        *,
        keep: Callable[[str, Record], bool],
        report: Callable[[str, str], object],
    ) -> None:
        self.taken = 0
        self.damaged = 0
        self._envelope = envelope
        self._prefix = prefix
        self._keep = keep
        self._report = report
        self._shelves = shelves
        self._tails: JournalTails | None = None
        self._takeover: Takeover | None = None

    def find(self, key: str) -> Record | None:
        """Return what the journals hold of *key*."""
        digest, folder = digest_of(key), self._shelves.open().changes
        if digest is None or folder is None:
            return None
        tails = self._tails = self._tails or JournalTails(folder)
        record, whole = self._joined(key, tails.find(digest))
        return record if whole else self._joined(key, tails.all_of(digest))[0]

    def take_over(self) -> None:
        """Bring what dead workers left, and what stopped ones keep, into local storage."""
        shelf = self._shelves.open()
        if shelf.changes is None:
            return
        takeover = self._takeover = self._takeover or Takeover(shelf.changes, self._join)
        if not takeover.names():
            return
        with shelf.locks.alone("journals") as alone:
            # Another one who is at it reports what is found.
            found = takeover.run() if alone else TakenOver()
        self.taken += found.journals
        self.damaged += found.damaged
        if found.records:
            text = f"{found.records} changes of workers that ended or were stopped were taken over"
            self._report("journal_taken_over", text)
        if found.damaged:
            text = f"journals of workers that ended were damaged in {found.damaged} places"
            self._report("journal_damaged", text)
        if found.foreign:
            text = f"{found.foreign} changes of workers that ended are signed with unknown keys"
            self._report("journal_damaged", text)

    def _joined(self, key: str, sealed: list[bytes]) -> tuple[Record | None, bool]:
        """Return the join of records, and whether all of them could be read."""
        record, whole = None, True
        for data in sealed:
            try:
                record = join_optional(record, self._envelope.open(data, key))
            except (CorruptRecordError, UnknownRecordError):
                whole = False
        return record, whole

    def _join(self, digest: str, sealed: bytes) -> Joined:
        key = self._prefix + digest
        try:
            record = self._envelope.open(sealed, key)
        except CorruptRecordError:
            return Joined.DAMAGED
        except UnknownRecordError:
            return Joined.FOREIGN
        return Joined.DONE if self._keep(key, record) else Joined.FAILED
