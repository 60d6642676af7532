"""Cookies of ours that found no session: how many, by reason, each once in a quarter of an hour.

Counted only when nothing was found. No id is kept: a cookie is a keyed hash of its storage key, and
of these the smallest are reported, from which the number of all workers together follows.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from enum import StrEnum
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from flask_msm.record.keys import ref_of, storage_key
from flask_msm.record.token import sid_of

from .distinct import DIGITS, KEPT, Distinct


if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from flask_msm.process.clock import Clock
    from flask_msm.record.keys import Keyring

    from .session_log import SessionLog


#: Time in seconds of one window; so many are kept, a quarter of an hour together.
STEP, STEPS = 30.0, 30
#: Cookies of each kind that are looked at again; of more, those that came first.
MOST_OPEN = 1000
#: So many cookies are remembered at most that were logged, or looked at again.
MOST_REMEMBERED = 4096
_PERSON = b"flask_msm lost"
#: Not the cached one: strangers choose these ids, and could push those of sessions out.
_storage_key: Callable[[str, str], str] = storage_key.__wrapped__


class Reason(StrEnum):
    """Why a cookie found no session."""

    #: It was not signed here. Any stranger can send such ones.
    REFUSED = "refused"
    #: The same, and a node has its session, signed with a key that is not known here either.
    KEY_UNKNOWN = "key_unknown"
    #: The homes of the session have nothing, and it had neither ended nor expired.
    NOT_FOUND = "not_found"
    #: Its homes cannot be asked, and this host has no copy.
    NOT_KNOWN = "not_known"
    EXPIRED = "expired"
    #: Signed out, revoked, or moved to another id.
    ENDED = "ended"


#: What counts as lost.
LOST = Reason.KEY_UNKNOWN, Reason.NOT_FOUND, Reason.NOT_KNOWN


class _Window:
    """What was counted in one step: digests by reason, and of which reasons some were left out."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.digests: dict[Reason, set[str]] = {reason: set() for reason in Reason}
        self.cut: set[Reason] = set()
        #: When the first session was lost, seconds since the epoch.
        self.lost_at: float | None = None


class LostSessions:
    """Counts the cookies of one worker that found no session.

    Args:
        keys: Returns the keyring of the application's secrets as they are now.
        key_prefix: What storage keys begin with.
        has_ended: Returns whether the session of a storage key is known to have ended.
        log: Gets a line for each session that was not found.

    Attributes:
        open: Storage keys, by digest, of cookies that are to be looked at again: refused ones, and
            those of which no store knew.
        on_loss: Called for each cookie that may be one of a lost session.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        keys: Callable[[], Keyring],
        key_prefix: str,
        has_ended: Callable[[str], bool],
        log: SessionLog,
    ) -> None:
        self.log = log
        self.open: dict[Reason, dict[str, str]] = {Reason.REFUSED: {}, Reason.NOT_KNOWN: {}}
        self.on_loss: Callable[[], object] = lambda: None
        self._clock = clock
        self._keys = keys
        self._prefix = key_prefix
        self._has_ended = has_ended
        self._windows: deque[_Window] = deque(maxlen=STEPS)
        self._logged: set[str] = set()
        #: What refused cookies turned out to be.
        self._looked_at: dict[str, Reason] = {}
        #: Digests of the sessions that were asked for, by window.
        self._asked: dict[int, list[str]] = {}

    # -- counting ------------------------------------------------------------------------------

    def missing(self, key: str) -> None:
        """Count a cookie whose session no store has: it ended, or is lost."""
        self.note(Reason.ENDED if self._has_ended(key) else Reason.NOT_FOUND, key)

    def refused(self, texts: Iterable[str]) -> None:
        """Count cookies that look like ours and were not signed here."""
        for text in texts:
            sid = sid_of(text)
            if sid is not None:
                self.note(Reason.REFUSED, _storage_key(self._prefix, sid))

    def note(self, reason: Reason, key: str) -> None:
        """Count the cookie of the session that would be kept under *key*."""
        digest = self._digest(key)
        if reason is Reason.REFUSED and digest in self._looked_at:
            reason = self._looked_at[digest]
        if reason is not Reason.NOT_KNOWN and digest in self.open[Reason.NOT_KNOWN]:
            self.settle(Reason.NOT_KNOWN, digest)
        self._add(reason, digest)
        waiting = self.open.get(reason)
        if waiting is not None and len(waiting) < MOST_OPEN and digest not in self._looked_at:
            waiting[digest] = key
        if reason is Reason.NOT_FOUND and digest not in self._logged:
            if len(self._logged) >= MOST_REMEMBERED:
                self._logged.clear()
            self._logged.add(digest)
            self.log.write("session %s was not found: its nodes do not have it", ref_of(key))
        if reason in LOST or reason is Reason.REFUSED:
            self.on_loss()

    def looked_at(self, digest: str, key: str, *, foreign: bool) -> None:
        """Take note that the nodes of a refused cookie were asked for its session.

        *foreign*: they have it, signed with a key that is not known here.
        """
        if len(self._looked_at) >= MOST_REMEMBERED:
            self._looked_at.clear()
        self._looked_at[digest] = Reason.KEY_UNKNOWN if foreign else Reason.REFUSED
        if foreign:
            self.settle(Reason.REFUSED, digest, Reason.KEY_UNKNOWN)
            self.log.write(
                "session %s was not found: it is signed with a key that is not known here",
                ref_of(key),
            )
        else:
            self.open[Reason.REFUSED].pop(digest, None)

    def settle(self, reason: Reason, digest: str, now: Reason | None = None) -> None:
        """Count a cookie as *now*, not as *reason* any more; ``None``: its session was found."""
        self.open[reason].pop(digest, None)
        for window in list(self._windows):
            window.digests[reason].discard(digest)
        if now is not None:
            self._add(now, digest)

    def _add(self, reason: Reason, digest: str) -> None:
        now = self._clock.monotonic()
        number = int(now // STEP)
        if not self._windows or self._windows[-1].number != number:
            self._windows.append(_Window(number))
        window = self._windows[-1]
        if reason in LOST and window.lost_at is None:
            window.lost_at = self._clock.time()
        digests = window.digests[reason]
        digests.add(digest)
        if len(digests) > 2 * KEPT:
            window.digests[reason] = set(sorted(digests)[:KEPT])
            window.cut.add(reason)

    def _digest(self, key: str) -> str:
        return _hashed(key, self._keys().current.secret)

    # -- what is reported ----------------------------------------------------------------------

    def report(self, asked: Iterable[tuple[int, set[str]]]) -> dict[str, Any]:
        """Return what was counted in the last quarter of an hour, as JSON takes it.

        Args:
            asked: Storage keys of some of the sessions that were asked for, by number of the
                window.
        """
        self.log.turn()
        report: dict[str, Any] = {}
        if sampled := self._asked_for(asked):
            report["asked"] = Distinct.of(sampled[0], more=sampled[1]).written()
        # Several threads report: none takes old windows away, newer ones push them out.
        oldest = int(self._clock.monotonic() // STEP) - STEPS + 1
        windows = [window for window in list(self._windows) if window.number >= oldest]
        if not windows:
            return report
        for reason in Reason:
            digests = set[str]().union(*[window.digests[reason] for window in windows])
            if digests:
                cut = any(reason in window.cut for window in windows)
                found = Distinct.of(digests, more=cut)
                report[reason.value] = found.written()
                if reason in LOST:
                    report[reason.value]["ages"] = self._ages(reason, found, windows)
        lost_at = [
            window.lost_at
            for window in windows
            if window.lost_at is not None and any(window.digests[reason] for reason in LOST)
        ]
        if lost_at:
            report["since"] = min(lost_at)
        return report

    def _ages(self, reason: Reason, found: Distinct, windows: Sequence[_Window]) -> list[int]:
        """Return how many steps ago each of the smallest digests was counted first."""
        current, first = int(self._clock.monotonic() // STEP), dict[str, int]()
        for window in reversed(windows):
            first.update(dict.fromkeys(window.digests[reason], current - window.number))
        return [first[digest] for digest in found.smallest]

    def lost_by_window(self) -> list[tuple[int, set[str], bool]]:
        """Return the sessions that were lost in each window: number, digests, if some are cut."""
        return [
            (
                window.number,
                set[str]().union(*[window.digests[reason] for reason in LOST]),
                any(reason in window.cut for reason in LOST),
            )
            for window in list(self._windows)
        ]

    def _asked_for(self, asked: Iterable[tuple[int, set[str]]]) -> tuple[set[str], bool] | None:
        """Return digests of the sessions that were asked for, and whether some are left out."""
        known, self._asked = self._asked, {}
        current, found, cut = int(self._clock.monotonic() // STEP), set[str](), False
        for number, keys in asked:
            digests = known.get(number)
            if digests is None or number == current:
                secret, digests = self._keys().current.secret, []
                for key in tuple(keys):
                    digests.append(_hashed(key, secret))
                digests = sorted(digests)[:KEPT]
            self._asked[number] = digests
            found.update(digests)
            cut = cut or len(keys) > KEPT
        return (found, cut) if found else None


def _hashed(key: str, secret: bytes) -> str:
    return blake2b(key.encode(), key=secret, person=_PERSON, digest_size=DIGITS // 2).hexdigest()
