"""The tree that stands for a value in MessagePack, and the walk back to the value.

MessagePack has lists and dicts with str keys. Every other container becomes a list that begins
with a mark, an extension that no value turns into: ``[mark, item, ...]``. Marks are resolved by a
walk after decoding, not by decoding inside of decoding, so that one place bounds how deep hostile
bytes can lead.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any

from flask_msm.errors import DecodeError


if TYPE_CHECKING:
    from .registry import Registry


#: How many containers may be inside each other, the outermost counted.
MAX_DEPTH = 200


class Tag(Enum):
    """What a list that begins with it stands for; the value is the number of the extension."""

    TUPLE = 16
    SET = 17
    FROZENSET = 18
    #: A dict with other keys than UTF-8 text: ``[mark, key, item, key, item, ...]``.
    DICT = 19
    #: An object of a registered type: ``[mark, name, encoded]``.
    OBJECT = 20


def resolve(tree: Any, registry: Registry, depth: int = 0) -> object:
    """Return the value that *tree* stands for; lists and dicts of the tree become part of it.

    Raises:
        Exception: It stands for no value. Most often a ``DecodeError``, but a registered decoder
            may raise anything.
    """
    kind = type(tree)
    if kind is Tag:
        raise DecodeError("a mark stands where a value should be")
    if kind is not list and kind is not dict:
        return tree
    if depth >= MAX_DEPTH:
        raise DecodeError(f"it is nested in more than {MAX_DEPTH} containers")
    for place, item in enumerate(tree) if kind is list else tree.items():
        inner = type(item)
        if inner is list or inner is dict or (inner is Tag and place != 0):
            tree[place] = resolve(item, registry, depth + 1)
    if kind is list and tree and type(tree[0]) is Tag:
        return _unmark(tree, registry)
    return tree


def _unmark(tree: list[Any], registry: Registry) -> object:
    mark, *items = tree
    match mark:
        case Tag.TUPLE:
            return tuple(items)
        case Tag.SET:
            return set(items)
        case Tag.FROZENSET:
            return frozenset(items)
        case Tag.DICT:
            return dict(zip(items[::2], items[1::2], strict=True))
        case _:
            name, encoded = items
            return registry.decode(name, encoded)
