"""Writes ``docs/api.md`` from the docstrings of what is public: ``python docs/api_page.py``."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import griffe


if TYPE_CHECKING:
    from collections.abc import Iterator


ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "api.md"

INTRODUCTION = """\
# Python names

Made from the docstrings by `python docs/api_page.py`; a test compares this page with the code.
What is not on it is internal and may change without notice.
"""

#: What is public beside ``flask_msm.__all__``: the names by module.
BESIDE = {
    "flask_msm.commands": ("Console", "Outcome"),
    "flask_msm.policies": ("Failure", "KeepLocal", "Reraise", "StopDistribution", "StoreNone"),
    "flask_msm.record.codec": ("MsgpackCodec",),
    "flask_msm.testing": (
        "Nodes", "assert_serializable", "holders", "probe", "same_browser", "settle", "stored",
        "wait_for_mode",
    ),
    "flask_msm_dashboard": ("Access", "basic_auth", "loopback_only"),
}  # fmt: skip
#: Classes of this package that are one half of a public one.
HALVES = {"ConsoleView"}
#: Members of public classes that only this package uses.
INTERNAL = {
    "Console": {"application", "conditions", "operations", "settings", "survey", "visit"},
    "MemcachedSessionManager": {"state"},
    "MsgpackCodec": {"id", "dumps", "loads"},
    "MsmSessionInterface": {
        "before_load", "cookie_texts", "is_ignored", "is_null_session", "is_read_only", "life",
        "repository",
    },
    "Session": {
        "assigned", "backing", "cleared", "decoded", "detached", "keep_only", "load", "loaded",
        "marked", "peek", "shown", "told_absent", "undecoded",
    },
}  # fmt: skip


TITLES = {"parameters": "Arguments", "attributes": "Attributes", "raises": "Raises"}


def page() -> str:
    """Return the page."""
    package = _load("flask_msm")
    exports = [str(name) for name in package.exports or ()]
    errors = [name for name in exports if name.endswith("Error")]
    signals = [name for name in exports if package[name].is_attribute]
    parts = [INTRODUCTION, "## flask_msm"]
    for name in exports:
        if name not in (*errors, *signals):
            parts += _entry(package[name])
    parts.append("## Errors")
    for name in errors:
        parts += _entry(package[name])
    parts += ["## Signals", *_text(_load("flask_msm.signals"))]
    parts.append("\n".join(f"- `{name}`: {' '.join(_text(package[name]))}" for name in signals))
    for module, names in BESIDE.items():
        parts.append(f"## {module}")
        for name in names:
            parts += _entry(_load(module)[name])
    return "\n\n".join(part.strip() for part in parts) + "\n"


@cache
def _load(name: str) -> Any:
    """Read the source of a module, without importing it."""
    return griffe.load(
        name,
        search_paths=[ROOT, ROOT / "dashboard"],
        docstring_parser="google",
        resolve_aliases=True,
    )


def _entry(found: Any) -> Iterator[str]:
    """Yield the paragraphs on a class, with its members, or on a function."""
    found = found.final_target if found.is_alias else found
    yield f"### {found.name}"
    if not found.is_class:
        yield _code(found)
        yield from _text(found)
        return
    is_error = found.name.endswith("Error")
    if is_error:
        yield f"Inherits {' and '.join(f'`{base}`' for base in found.bases)}."
    else:
        yield _code(found)
    yield from _text(found)
    for member in [] if is_error else _members(found):
        yield f"#### {found.name}.{member.name}"
        if member.is_function:
            yield _code(member)
        yield from _text(member)


def _members(found: Any) -> list[Any]:
    hidden = INTERNAL.get(found.name, set()) | set(dir(dict))
    members = {**_half(found), **found.members}
    return [
        member
        for name, member in sorted(members.items())
        if not name.startswith("_") and name not in hidden and not _is_field(member)
    ]


def _half(found: Any) -> dict[str, Any]:
    """Return what a class inherits that is written in two halves."""
    halves = [found.module.members[base] for base in map(str, found.bases) if base in HALVES]
    return {name: member for half in halves for name, member in half.final_target.members.items()}


def _is_field(member: Any) -> bool:
    """Return whether the docstring of its class describes *member*."""
    return bool(member.is_attribute and "property" not in member.labels)


def _text(found: Any) -> Iterator[str]:
    if found.docstring is None:
        raise ValueError(f"{found.path} is public and has no docstring")
    for section in found.docstring.parsed:
        kind = section.kind.value
        if kind == "text":
            yield section.value
        elif kind == "returns":
            yield f"Returns: {' '.join(_line(item) for item in section.value)}"
        else:
            items = (f"- `{_name(item)}`: {_line(item)}" for item in section.value)
            yield f"{TITLES[kind]}:\n\n" + "\n".join(items)


def _name(item: Any) -> str:
    """Return the name of an argument or attribute, or the class of an error."""
    return str(getattr(item, "name", item.annotation))


def _line(item: Any) -> str:
    return " ".join(item.description.split())


def _code(found: Any) -> str:
    init = _half(found).get("__init__") if found.is_class else None
    signature = str(found.signature() or (init and init.signature(name=found.name)))
    signature = signature.removesuffix(" -> None") if found.is_class else signature
    if len(signature) > 100:
        # At each comma that another argument follows.
        signature = re.sub(r", (?=\*,|\w+: )", ",\n    ", signature)
    return f"```python\n{signature}\n```"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
