"""The text under which an attribute is stored whose name is no ``str``: the one JSON writes.

Flask's own session is JSON, so ``session[42]`` is there under ``"42"`` in the next request.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any


def text_of(name: Any) -> str | None:
    """Return what JSON writes for *name* as a key; ``None`` when it takes no such key."""
    if type(name) is str:
        return name
    try:
        return next(iter(json.loads(json.dumps({name: None}))))  # type: ignore[no-any-return]
    except (TypeError, ValueError):  # no such key, or an int too long for Python to write
        return None


def by_text(values: dict[Any, Any]) -> dict[Any, Any]:
    """Return *values* under the texts of their names.

    What has none, or one that is the name of another value, stays under its own name.
    """
    for name in values:  # without calls, for this is in the way of every request
        if type(name) is not str:
            break
    else:
        return values
    texts = {name for name in values if type(name) is str}
    named: dict[Any, Any] = {}
    for name, value in values.items():
        text = text_of(name)
        if type(name) is str or text is None or text in texts:
            named[name] = value
        else:
            texts.add(text)
            named[text] = value
    return named


def why_refused(name: object, names: Collection[object]) -> str:
    """Return why nothing is stored under *name*, which is no ``str``."""
    text = text_of(name)
    if text is None:
        return "a name must be a text, a number, a bool or None; use a text"
    if any(other is not name and text_of(other) == text for other in names):
        return "the text that stands for it is the name of another attribute; use a text for both"
    return "names must be str; use a text"
