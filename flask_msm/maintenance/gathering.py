"""Which records are to be copied: what nodes list, in as much memory as there is for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask_msm.memcached.wire import LimitReachedError
from flask_msm.record.keys import DIGEST_LENGTH

from .copier import BATCH


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


#: So many digests are kept, of one listing and of what is to be copied; ranges for which there is
#: no room are left for later.
MOST = 500_000
#: Digests between two rests.
BLOCK = 500


class Gathering:
    """Digests of some ranges, 40 bytes each, one behind another.

    Args:
        ranges: What they begin with; those at the end are given up first.
        prefix: What storage keys begin with.
        target_of: Returns the nodes that the record of a storage key is copied to.
        rest: Called from time to time while there is something to do.

    Attributes:
        ranges: Those that were not given up.
    """

    def __init__(
        self,
        ranges: list[str],
        *,
        prefix: str,
        target_of: Callable[[bytes], list[str]],
        rest: Callable[[], object],
    ) -> None:
        self.ranges = ranges
        self._prefix = prefix.encode()
        self._target_of = target_of
        self._rest = rest
        self._listed = bytearray()
        #: By range, and by source and target.
        self._found: dict[str, dict[tuple[str, str], bytearray]] = {one: {} for one in ranges}
        self._size = 0

    def take(self, names: list[bytes]) -> None:
        """Take what a source lists, as it comes.

        Raises:
            LimitReachedError: It is more of a single range than there is room for.
        """
        if len(self.ranges) < len(self._found):
            # Some were given up since it was asked.
            kept = frozenset(map(ord, self.ranges))
            names = [name for name in names if name[0] in kept]
        self._listed += b"".join(names)
        while len(self._listed) > MOST * DIGEST_LENGTH:
            self._give_up()
            kept = frozenset(map(ord, self.ranges))
            listed = _parts(bytes(self._listed))
            self._listed = bytearray().join(one for one in listed if one[0] in kept)

    def sort(self, source: str) -> None:
        """Keep what of it is to be copied from *source*, by range and target."""
        listed, self._listed = bytes(self._listed), bytearray()
        for number, digest in enumerate(_parts(listed)):
            if not number % BLOCK:
                self._rest()
            digit = chr(digest[0])
            for target in self._target_of(self._prefix + digest):
                if target != source and digit in self.ranges:
                    self._found[digit].setdefault((source, target), bytearray()).extend(digest)
                    self._size += 1
            while self._size > MOST:
                self._give_up()

    def batches(self, digit: str) -> Iterator[tuple[str, str, list[str]]]:
        """Yield source, target and storage keys of what is to be copied of a range."""
        prefix, step = self._prefix.decode(), BATCH * DIGEST_LENGTH
        for (source, target), digests in self._found[digit].items():
            for start in range(0, len(digests), step):
                text = digests[start : start + step].decode("ascii")
                yield (
                    source,
                    target,
                    [
                        prefix + text[at : at + DIGEST_LENGTH]
                        for at in range(0, len(text), DIGEST_LENGTH)
                    ],
                )

    def _give_up(self) -> None:
        """Leave one range for later."""
        if len(self.ranges) == 1:
            raise LimitReachedError
        gone = self._found[self.ranges.pop()]
        self._size -= sum(len(one) for one in gone.values()) // DIGEST_LENGTH
        gone.clear()


def _parts(digests: bytes) -> Iterator[bytes]:
    for start in range(0, len(digests), DIGEST_LENGTH):
        yield digests[start : start + DIGEST_LENGTH]
