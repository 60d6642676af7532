"""From a value to a tree (see ``tree.py``), or to the name of the part that cannot be one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from .extensions import BIG_INT, ENCODERS, SURROGATES, encode_int, encode_text
from .lowering import lowered, lowered_item, lowered_key
from .tree import MAX_DEPTH, Tag
from .unsupported import Refused, key_segment


if TYPE_CHECKING:
    from collections.abc import Callable

    from .lowering import Default
    from .registry import Registered, Registry


TOO_DEEP = f"it is nested in more than {MAX_DEPTH} containers, or contains itself"
CHANGED = "it changed while it was being encoded"
ONE_KEY = "two of its keys would come back as one"
STRICT_KEY = "a dict key may be a str, int, bool, None, float or bytes, and no subclass of these"

SCALARS = frozenset({str, int, type(None), bool, float, bytes})
_KEYS = (int, bytes, bool, type(None), float, str)


def is_plain(value: Any, depth: int = 0) -> bool:
    """Return whether *value* consists of None, bool, int, float, str, bytes, list, dict alone.

    It runs for every value, so it has to be fast. MessagePack itself refuses the few of
    these that it cannot hold (big ints, lone surrogates), but takes others that would come back
    changed (bytearray, memoryview, its own classes): hence a look at every type.
    """
    kind = type(value)
    if kind is dict:
        for key in value:
            if type(key) is not str:
                return False
        value = value.values()
    elif kind is not list:
        return kind in SCALARS
    for item in value:
        kind = type(item)
        if kind is str or kind is int or kind in SCALARS:
            continue
        if depth >= MAX_DEPTH - 1 or not is_plain(item, depth + 1):
            return False
    return True


class ContainerEncoder:
    """Turns one value into a tree, or names the part that cannot be one.

    *extension* makes the extension of a number and bytes, for MessagePack. If *strict*, what would
    come back as another type is refused; else *default* is asked about what Flask has no tag for.

    Attributes:
        marked: Whether the tree has marks in it, so that it must be resolved after decoding.
    """

    __slots__ = ("_default", "_extension", "_in_set", "_pack", "_registry", "_strict", "marked")

    def __init__(
        self,
        extension: Callable[[int, bytes], object],
        pack: Callable[[object], bytes],
        registry: Registry,
        *,
        strict: bool,
        default: Default | None,
    ) -> None:
        self._extension = extension
        self._pack = pack
        self._registry = registry
        self._strict = strict
        self._default = default
        self._in_set = False
        self.marked = False

    def flatten(self, value: Any, depth: int = 0) -> object:
        """Return *value*, found inside *depth* containers, as a tree.

        Raises:
            Refused: A part of it cannot be stored.
        """
        kind = type(value)
        if kind is str:
            return value if value.isascii() or _is_utf8(value) else self._text(value)
        if kind is int:
            fits = -(2**63) <= value < 2**64
            return value if fits else self._extension(BIG_INT, encode_int(value))
        try:
            if kind in SCALARS:
                return value
            container = self._containers.get(kind)
            leaf = ENCODERS.get(kind)
            registered = self._registry.by_type.get(kind)
        except Exception:  # noqa: BLE001 - a metaclass may make classes that cannot be hashed
            raise Refused(value) from None
        if leaf is not None:
            return self._leaf(value, *leaf)
        if container is not None:
            return container(self, value, _deeper(value, depth))
        return self._foreign(value, registered, depth)

    def _foreign(self, value: object, registered: Registered | None, depth: int) -> object:
        if registered is not None:
            return self._object(value, registered, _deeper(value, depth))
        if self._strict:
            raise Refused(value)
        if self._in_set:
            return self.flatten(lowered_item(value), depth)
        plain, by_default = lowered(value, self._default)
        if type(plain) is type(value) and not by_default:
            raise Refused(value)  # a class that was replaced while this runs: this would not end
        # The result of a JSON provider may need it again.
        return self.flatten(plain, _deeper(value, depth) if by_default else depth)

    def _mark(self, mark: Tag) -> object:
        self.marked = True
        return self._extension(mark.value, b"")

    def _text(self, value: str) -> object:
        return self._extension(SURROGATES, encode_text(value))

    def _leaf(self, value: object, number: int, encode: Callable[[Any], bytes]) -> object:
        try:
            return self._extension(number, encode(value))
        except Refused:
            raise
        except Exception as error:  # noqa: BLE001 - a time zone is code from outside
            raise Refused(value, f"encoding it raised {type(error).__name__}") from None

    def _object(self, value: object, registered: Registered, depth: int) -> list[object]:
        try:
            encoded = registered.encode(value)
        except Refused:
            raise
        except Exception as error:  # noqa: BLE001 - code of the application
            reason = f"its registered encoder raised {type(error).__name__}"
            raise Refused(value, reason) from None
        in_set, self._in_set = self._in_set, False
        try:
            return [self._mark(Tag.OBJECT), registered.name, self.flatten(encoded, depth)]
        except Refused as refused:
            refused.within(registered.segment)
            raise
        finally:
            self._in_set = in_set

    def _list(self, value: list[object], depth: int) -> list[object]:
        flat = self._items(tuple(value), depth)
        if len(flat) != len(value):
            raise Refused(value, CHANGED)
        return flat

    def _tuple(self, value: tuple[object, ...], depth: int) -> list[object]:
        return [self._mark(Tag.TUPLE), *self._items(value, depth)]

    def _items(self, value: tuple[object, ...], depth: int) -> list[object]:
        flat: list[object] = []
        try:
            for item in value:
                flat.append(self.flatten(item, depth))  # noqa: PERF401 - its length is the path
        except Refused as refused:
            refused.within(f"[{len(flat)}]")
            raise
        return flat

    def _set(self, value: set[object] | frozenset[object], depth: int) -> list[object]:
        in_set, self._in_set = self._in_set, True
        try:
            flat = [self.flatten(item, depth) for item in value]
        except Refused as refused:
            refused.within("{…}")
            raise
        except RuntimeError as error:
            raise _changed(value, error) from None
        finally:
            self._in_set = in_set
        # The order of a set differs between processes, that of bytes does not.
        flat.sort(key=self._pack)
        return [self._mark(Tag.SET if type(value) is set else Tag.FROZENSET), *flat]

    def _dict(self, value: dict[Any, object], depth: int) -> object:
        flat: dict[Any, object] = {}
        only_text, plainer = True, False
        key = None
        try:
            for key, item in value.items():
                plain = key
                if type(key) is not str or not (key.isascii() or _is_utf8(key)):
                    plain = self._key(key)
                    plainer = plainer or plain is not key
                    only_text = only_text and type(plain) is str and _is_utf8(plain)
                flat[plain] = self.flatten(item, depth)
        except Refused as refused:
            refused.within(key_segment(key))
            raise
        except RuntimeError as error:
            raise _changed(value, error) from None
        if plainer and len(flat) != len(value):
            raise Refused(value, ONE_KEY)
        if only_text:
            return flat
        pairs = (part for key, item in flat.items() for part in (self.flatten(key), item))
        return [self._mark(Tag.DICT), *pairs]

    def _key(self, key: object) -> object:
        kind = type(key)
        # Not ``in``, which hashes and compares classes of the application.
        if any(kind is one for one in _KEYS):
            return key
        if self._strict:
            raise Refused(key, STRICT_KEY)
        return lowered_key(key)

    _containers: ClassVar[dict[type, Callable[[ContainerEncoder, Any, int], object]]] = {
        list: _list,
        tuple: _tuple,
        set: _set,
        frozenset: _set,
        dict: _dict,
    }


def _deeper(value: object, depth: int) -> int:
    if depth >= MAX_DEPTH:
        raise Refused(value, TOO_DEEP)
    return depth + 1


def _is_utf8(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _changed(value: object, error: RuntimeError) -> Exception:
    return error if isinstance(error, RecursionError) else Refused(value, CHANGED)
