"""The name of the type that an encoded value has, without decoding it."""

from __future__ import annotations

from .extensions import BIG_INT, ENCODERS, SURROGATES
from .tree import Tag


#: First bytes of MessagePack up to which, in their order, a value is of the type.
_RANGES = (
    (0x7F, "int"),
    (0x8F, "dict"),
    (0x9F, "list"),
    (0xBF, "str"),
    (0xC0, "NoneType"),
    (0xC1, ""),
    (0xC3, "bool"),
    (0xC6, "bytes"),
    (0xC9, ""),
    (0xCB, "float"),
    (0xD3, "int"),
    (0xD8, ""),
    (0xDB, "str"),
    (0xDD, "list"),
    (0xDF, "dict"),
    (0xFF, "int"),
)
_TREE = 0xC1
#: Where the number of an extension stands, by the first byte.
_EXTENSIONS = {0xC7: 2, 0xC8: 3, 0xC9: 5, **dict.fromkeys(range(0xD4, 0xD9), 1)}
_NAMES = {number: kind.__name__ for kind, (number, _) in ENCODERS.items()}
_NAMES |= {BIG_INT: "int", SURROGATES: "str"}
_NAMES |= {tag.value: tag.name.lower() for tag in Tag}
#: An empty extension, as a mark is written, and its length.
_MARK, _MARK_LENGTH = b"\xc7\x00", 3
_SHORT_TEXT, _TEXT_8 = range(0xA0, 0xC0), 0xD9


def kind_of(data: bytes) -> str | None:
    """Return the name of the type of the value that the built-in codec wrote as *data*.

    That of a registered type is the name it was registered under. ``None`` for what it did not
    write.
    """
    if data[:1] and data[0] == _TREE:
        return _marked(data[1:])
    return _plain(data)


def _plain(data: bytes) -> str | None:
    if not data:
        return None
    place = _EXTENSIONS.get(data[0])
    if place is not None:
        return _NAMES.get(data[place]) if len(data) > place else None
    return next(name for last, name in _RANGES if data[0] <= last) or None


def _marked(data: bytes) -> str | None:
    """Return the type of a tree: a list that begins with a mark is what the mark says."""
    if _plain(data) != "list":
        return _plain(data)
    behind = data[{0xDC: 3, 0xDD: 5}.get(data[0], 1) :]
    if not behind.startswith(_MARK) or len(behind) < _MARK_LENGTH:
        return "list"
    tag = behind[_MARK_LENGTH - 1]
    return _registered(behind[_MARK_LENGTH:]) if tag == Tag.OBJECT.value else _NAMES.get(tag)


def _registered(text: bytes) -> str | None:
    """Return the name that stands at the beginning of *text*."""
    if not text:
        return None
    start, length = 1, text[0] - _SHORT_TEXT.start
    if text[0] == _TEXT_8 and len(text) > 1:
        start, length = 2, text[1]
    elif text[0] not in _SHORT_TEXT:
        return None
    return text[start : start + length].decode(errors="replace")
