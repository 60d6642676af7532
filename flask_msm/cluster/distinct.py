"""How many different things there were, of several workers together: exact up to 64.

Each thing is a number that a keyed hash makes of it. The 64 smallest are kept: the 64 smallest of
two sets are the 64 smallest of both together. Of more things than that, how close together these
lie says how many there are, with an error of about an eighth.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from collections.abc import Iterable


#: So many digests are kept.
KEPT = 64
#: Hexadecimal digits of a digest.
DIGITS = 12
_SPAN = 16.0**DIGITS
_HEXADECIMAL = "0123456789abcdef"


@dataclass(frozen=True, slots=True)
class Distinct:
    """A set of things, as far as it is needed to count them.

    Attributes:
        smallest: The smallest digests, in their order.
        more: There were more than these.
    """

    smallest: tuple[str, ...] = ()
    more: bool = False

    @classmethod
    def of(cls, digests: Iterable[str], *, more: bool = False) -> Distinct:
        """Return the set of *digests*; with *more*: larger ones were left out of it before."""
        found = sorted(set(digests))
        return cls(tuple(found[:KEPT]), more or len(found) > KEPT)

    @classmethod
    def together(cls, sets: Iterable[Distinct]) -> Distinct:
        """Return the union of *sets*."""
        found = list(sets)
        digests = [digest for one in found for digest in one.smallest]
        return cls.of(digests, more=any(one.more for one in found))

    @classmethod
    def read(cls, count: int | None, digests: str | None) -> Distinct:
        """Return what another worker wrote as ``count`` and ``digests``; empty if it is odd."""
        text = digests or ""
        if len(text) > KEPT * DIGITS or len(text) % DIGITS or text.strip(_HEXADECIMAL):
            return cls()
        found = [text[start : start + DIGITS] for start in range(0, len(text), DIGITS)]
        return cls.of(found, more=(count or 0) > len(found))

    @property
    def count(self) -> int:
        """How many things are in it."""
        known = len(self.smallest)
        if not self.more or known < KEPT:
            return known
        return max(known, round((KEPT - 1) * _SPAN / (int(self.smallest[-1], 16) + 1)))

    def written(self) -> dict[str, object]:
        """Return it as JSON takes it."""
        return {"count": self.count, "digests": "".join(self.smallest)}
