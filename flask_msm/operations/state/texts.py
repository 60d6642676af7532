"""The one place every sentence of the dashboard goes through, so that it can be translated."""

from __future__ import annotations


#: Other words for the English ones. Places in braces stay as they are.
CATALOG: dict[str, str] = {}


def _(message: str, /, **values: object) -> str:
    """Return *message*, translated, with *values* in the places named in braces."""
    text = CATALOG.get(message, message)
    return text.format(**values) if values else text


def plural(number: int, one: str, many: str, /, **values: object) -> str:
    """Return *one* or *many*, translated, with ``{n}`` and *values* in it."""
    return _(one if number == 1 else many, n=f"{number:,}", **values)


def listed(words: list[str], *, most: int = 4) -> str:
    """Return *words* as people list them, the first *most* of them."""
    if len(words) > most:
        rest = len(words) - most + 1
        return _("{words} and {n} more", words=", ".join(words[: most - 1]), n=rest)
    if len(words) < 2:
        return "".join(words)
    return _("{words} and {last}", words=", ".join(words[:-1]), last=words[-1])
