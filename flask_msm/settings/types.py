"""What the value of a setting may be: one *kind* for every sort of value.

A kind states in words what it accepts and turns what a configuration holds (often text from the
environment) into the value the package works with.
"""

from __future__ import annotations

import math
import re
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from hashlib import blake2b
from pathlib import Path
from typing import Any, Generic, Literal, Protocol, TypeVar


T = TypeVar("T")

#: Splits lists whose items hold neither blanks nor commas.
BLANKS_OR_COMMAS = r"[\s,]+"

_TRUE = ("true", "yes", "on", "1")
_FALSE = ("false", "no", "off", "0")


class CacheLike(Protocol):
    """What is used of a cachelib ``BaseCache``."""

    def get(self, key: str) -> Any:
        """Return the value stored under *key*, ``None`` when there is none."""
        ...

    def set(self, key: str, value: Any, timeout: int | None = None) -> bool | None:
        """Store *value* for *timeout* seconds."""
        ...

    def delete(self, key: str) -> bool:
        """Remove *key*."""
        ...


class InvalidValueError(ValueError):
    """A value is not of the kind it should be; the text, if there is one, is the reason."""


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
    """A sort of value.

    Attributes:
        allowed: What is accepted, in words.
        parse: Returns the value, or raises a ``ValueError``: without a text when *allowed* is
            enough, and never with the value of a secret in it.
    """

    allowed: str
    parse: Callable[[object], T]


def whole(*, at_least: int, at_most: int | None = None) -> Kind[int]:
    """Return the kind of whole numbers within the bounds, which are allowed themselves."""
    most = math.inf if at_most is None else at_most

    def parse(value: object) -> int:
        number = _number(value)
        if number != int(number) or not at_least <= number <= most:
            raise InvalidValueError
        return int(number)

    return Kind(f"a whole number, {_bounds(f'at least {at_least}', at_most)}", parse)


def seconds(*, zero: bool = False, at_most: int) -> Kind[float]:
    """Return the kind of durations: seconds as a number, or a ``timedelta``.

    Args:
        zero: Whether 0 is allowed; less is not.
        at_most: The longest one, in seconds.
    """

    def parse(value: object) -> float:
        number = value.total_seconds() if isinstance(value, timedelta) else _number(value)
        if number < 0 or number > at_most or (number == 0 and not zero):
            raise InvalidValueError
        return float(number)

    least = "at least 0" if zero else "above 0"
    return Kind(f"seconds (a number or a timedelta), {_bounds(least, at_most)}", parse)


def text(pattern: str, allowed: str) -> Kind[str]:
    """Return the kind of texts that match *pattern* as a whole."""
    matches = re.compile(pattern).fullmatch

    def parse(value: object) -> str:
        # Flask's ``from_prefixed_env`` makes a number of a text that looks like one.
        word = str(value) if type(value) is int else value
        if not isinstance(word, str) or not matches(word.strip()):
            raise InvalidValueError
        return word.strip()

    return Kind(allowed, parse)


def texts(
    pattern: str, allowed: str, *, separator: str = BLANKS_OR_COMMAS
) -> Kind[tuple[str, ...]]:
    """Return the kind of lists of different texts that match *pattern* as a whole."""
    matches = re.compile(pattern).fullmatch

    def parse(value: object) -> tuple[str, ...]:
        items = split_list(value, separator)
        if not all(map(matches, items)):
            raise InvalidValueError
        if len(set(items)) < len(items):
            raise InvalidValueError("one of them is given twice")
        return tuple(items)

    return Kind(allowed, parse)


def choice(words: tuple[T, ...]) -> Kind[T]:
    """Return the kind of the given lower-case *words*, accepted in any case."""

    def parse(value: object) -> T:
        for word in words:
            if isinstance(value, str) and value.strip().lower() == word:
                return word
        raise InvalidValueError

    return Kind(f"one of {', '.join(map(str, words))}", parse)


def optional(kind: Kind[T]) -> Kind[T | None]:
    """Return *kind* with ``None`` named as allowed (``None`` itself never reaches ``parse``)."""
    return Kind(f"{kind.allowed}, or None", kind.parse)


def switched_on(value: object) -> bool:
    """Return whether a switch of Flask's is on, also one that is a text from the environment.

    A text that means *no* counts as off, though Flask takes every text for a yes.
    """
    if isinstance(value, str):
        return value.strip().lower() not in ("", *_FALSE)
    return bool(value)


def split_list(value: object, separator: str) -> list[str]:
    """Return the stripped items of a text split at *separator*, or of a list or tuple of texts.

    Empty items are left out. An item of a list is not split again.

    Raises:
        InvalidValueError: *value* is neither, or holds something that is not text.
    """
    items = re.split(separator, value) if isinstance(value, str) else value
    if not isinstance(items, list | tuple) or not all(isinstance(item, str) for item in items):
        raise InvalidValueError
    return [item.strip() for item in items if item.strip()]


def safe_name(name: str, unsafe: str, limit: int) -> str:
    """Return *name* with every *unsafe* character (a pattern) replaced by ``-``.

    A name longer than *limit* is cut; a hash distinguishes those with the same start.
    """
    safe = re.sub(unsafe, "-", name)
    if len(safe) <= limit:
        return safe
    digest = blake2b(name.encode(errors="surrogatepass"), digest_size=4).hexdigest()
    return f"{safe[: limit - 1 - len(digest)]}-{digest}"


def _bounds(least: str, at_most: int | None) -> str:
    return least if at_most is None else f"{least}, at most {at_most}"


def _boolean(value: object) -> bool:
    # By type, because 1.0 and Decimal(1) equal 1.
    word = str(value).strip().lower() if isinstance(value, bool | int | str) else None
    if word not in _TRUE + _FALSE:
        raise InvalidValueError
    return word in _TRUE


def _number(value: object) -> int | float:
    number = _number_from(value) if isinstance(value, str) else value
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise InvalidValueError
    # False for nan too; ``isfinite`` would fail with an int beyond all floats.
    if not abs(number) < math.inf:
        raise InvalidValueError
    return number


def _number_from(word: str) -> int | float:
    for convert in (int, float):
        try:
            return convert(word)
        except ValueError:
            continue
    raise InvalidValueError


def _regex(value: object) -> re.Pattern[str]:
    if isinstance(value, re.Pattern) and isinstance(value.pattern, str):
        return value
    if not isinstance(value, str):
        raise InvalidValueError
    try:
        return re.compile(value)
    except (re.error, OverflowError, RecursionError) as exc:
        raise InvalidValueError(str(exc)) from exc


def _cache(value: Any) -> Literal["filesystem", "simple"] | CacheLike:
    match value.strip().lower() if isinstance(value, str) else None:
        case "filesystem":
            return "filesystem"
        case "simple":
            return "simple"
        case _:
            return _cache_object(value)


def _cache_object(value: Any) -> CacheLike:
    # A class has these methods too, but nothing to keep sessions in.
    if isinstance(value, type):
        raise InvalidValueError("this is a class, not an object")
    if not all(callable(getattr(value, name, None)) for name in ("get", "set", "delete")):
        raise InvalidValueError
    checked: CacheLike = value
    return checked


def _directory(value: object) -> Path:
    if not isinstance(value, str | Path) or not Path(value).is_absolute():
        raise InvalidValueError
    return Path(value)


def _tls_context(value: object) -> ssl.SSLContext:
    if not isinstance(value, ssl.SSLContext):
        raise InvalidValueError
    return value


def _credentials(value: object) -> tuple[str, str]:
    match value.strip().split(":", 1) if isinstance(value, str) else value:
        case [str(user), str(password)] if (
            # A blank or line end would become part of the memcached command that carries it.
            re.fullmatch(r"[^\s\x00-\x1f\x7f:]+", user)
            and re.fullmatch(r"[^\s\x00-\x1f\x7f]+", password)
        ):
            return user, password
        case _:
            raise InvalidValueError


def _function(value: object) -> Callable[..., Any] | str:
    if callable(value):
        return value
    if not isinstance(value, str) or not re.fullmatch(r"[^\W\d]\w*(\.\w+)*[.:]\w+", value.strip()):
        raise InvalidValueError
    return value.strip()


BOOLEAN = Kind(f"one of {', '.join(_TRUE + _FALSE)}", _boolean)
REGEX = Kind("a regular expression", _regex)
#: A local storage.
CACHE = Kind("'filesystem', 'simple' or a cachelib cache object (with get, set, delete)", _cache)
DIRECTORY = Kind("an absolute path", _directory)
TLS_CONTEXT = Kind("an ssl.SSLContext", _tls_context)
#: A user's name and password, a secret.
CREDENTIALS = Kind(
    "'user:password' or a pair (user, password), neither empty, both without blanks and"
    " control characters, no colon in user",
    _credentials,
)
#: An import path stays text, importing is for later.
FUNCTION = Kind("a callable or its import path ('package.module:name')", _function)
