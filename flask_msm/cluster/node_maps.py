"""What nodes hold of the maps of the fleet, asked for by cas id alone as long as nothing changes.

A node that holds what it held answers with some sixty bytes, however large the maps are. Cas ids
begin anew with a memory: they count only beside the identity of the memory that they were read
from (``node_identity.py``), which every look asks for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from flask_msm.memcached.protocol import Item, Look

from .shared_map import Fetched


if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from flask_msm.memcached.client import MemcachedNode
    from flask_msm.record.keys import Keyring

    from .beats import Question
    from .node_identity import Identities
    from .shared_map import SharedMap


class Held(NamedTuple):
    """What a node holds of some maps.

    Attributes:
        identity: What it shows, see ``node_identity.py``.
        beats: Cas ids of the beats that were asked for and are there, by key.
    """

    maps: list[Fetched]
    identity: str | None
    beats: Mapping[str, bytes] = {}


class Looking(NamedTuple):
    """What a node is asked in a tick.

    Attributes:
        whole: Keys of what is asked for with its value.
        tokens: Keys of which the cas ids are asked for: of maps, and of the beats of others.
        beats: Keys under which a beat is left there, with their times to live in seconds.
    """

    whole: list[str]
    tokens: list[str]
    beats: Mapping[str, int]


class _Known(NamedTuple):
    """What a memory held of a map.

    Attributes:
        changed: It had changed since the look before.
    """

    identity: bytes
    unique: bytes
    held: Fetched
    changed: bool


class NodeMaps:
    """Reads maps from nodes, and knows what each held."""

    def __init__(self, identities: Identities) -> None:
        self._identities = identities
        #: By id of the node and key of the map; each is replaced as a whole.
        self._known: dict[tuple[str, str], _Known] = {}

    def read(
        self,
        node: MemcachedNode,
        maps: Sequence[SharedMap],
        deadline: float,
        watched: Sequence[str] = (),
    ) -> Held:
        """Learn what *node* holds of *maps*, all of it, in one round trip; see ``look``.

        Raises:
            NodeError: It failed.
        """
        name = self._identities.key
        items = node.get_many([name, *[shared.key for shared in maps], *watched], deadline)
        found = [shared.merge(items.get(shared.key)) for shared in maps]
        shown = self._identities.shown(node, items.get(name), deadline)
        seen = {key: items[key].token.unique for key in watched if key in items}
        return Held(found, shown, seen)

    def looking(
        self,
        node: MemcachedNode,
        maps: Sequence[SharedMap],
        watched: Iterable[str],
        beats: Mapping[str, int],
    ) -> Looking:
        """Return what to ask a node that ``can_look``; ``held`` takes what it answers.

        The cas ids of the beats under *watched* are asked for as well. *beats* are the keys under
        which a beat is left there, with their times to live in seconds.
        """
        whole = [self._identities.key]
        tokens: list[str] = []
        for shared in maps:
            before = self._known.get((node.id, shared.key))
            # What has just changed goes on changing.
            (whole if before is None or before.changed else tokens).append(shared.key)
        return Looking(whole, [*tokens, *watched], beats)

    def held(
        self,
        node: MemcachedNode,
        maps: Sequence[SharedMap],
        looks: Mapping[str, Look],
        deadline: float,
        watched: Iterable[str],
    ) -> Held:
        """Learn from *looks* what *node* holds of *maps*, which as a rule is what it held.

        No round trip, and one for maps that have changed after a time of rest.

        Raises:
            NodeError: It failed.
        """
        known = {shared.key: self._known.get((node.id, shared.key)) for shared in maps}
        identity = _item(looks.get(self._identities.key))
        memory = identity.value if identity is not None else None
        now = memory, maps[0].keyring()
        changed = [
            shared.key
            for shared in maps
            if shared.key in looks
            and looks[shared.key].value is None
            and not _is_the_same(known[shared.key], looks[shared.key], now, shared)
        ]
        items = node.get_many(changed, deadline) if changed else {}
        found = []
        for shared in maps:
            before, look = known[shared.key], looks.get(shared.key)
            if shared.key in changed or look is None:
                item = items.get(shared.key)
            elif look.value is not None:
                item = Item(look.value, look.token)
            else:
                assert before is not None  # noqa: S101  (only then is the value not asked for)
                is_old = before.held.token == look.token
                found.append(before.held if is_old else before.held._replace(token=look.token))
                continue
            found.append(shared.merge(item))
            self._remember(node, shared, memory, before, found[-1])
        shown = self._identities.shown(node, identity, deadline)
        seen = {key: looks[key].token.unique for key in watched if key in looks}
        return Held(found, shown, seen)

    def beats(self, node: MemcachedNode, asked: Question, deadline: float) -> dict[str, bytes]:
        """Return the cas ids of the beats that are there, by key, and leave others if it can.

        Raises:
            NodeError: It failed.
        """
        keys = asked.watched
        if node.can_look:
            looks = node.look([], keys, deadline, beats=asked.beats)
            return {key: look.token.unique for key, look in looks.items()}
        return {key: item.token.unique for key, item in node.get_many(keys, deadline).items()}

    def forget(self, node: MemcachedNode, shared: SharedMap) -> None:
        """Take note that a map was written to a node, which gave it a cas id that is not known."""
        self._known.pop((node.id, shared.key), None)

    def _remember(
        self,
        node: MemcachedNode,
        shared: SharedMap,
        memory: bytes | None,
        before: _Known | None,
        held: Fetched,
    ) -> None:
        place = node.id, shared.key
        if held.token is None or memory is None:
            self._known.pop(place, None)
            return
        unique = held.token.unique
        changed = before is not None and (before.identity, before.unique) != (memory, unique)
        self._known[place] = _Known(memory, unique, held, changed)


def _item(look: Look | None) -> Item | None:
    return None if look is None or look.value is None else Item(look.value, look.token)


def _is_the_same(
    before: _Known | None, look: Look, now: tuple[bytes | None, Keyring], shared: SharedMap
) -> bool:
    """Return whether a memory holds what it held, and that would be read as it was."""
    return (
        before is not None
        and before.unique == look.token.unique
        and (before.identity, before.held.keyring) == now
        and before.held.cuts == shared.cuts
    )
