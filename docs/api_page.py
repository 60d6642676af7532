"""The reference of all public names, for Sphinx's autodoc: ``python docs/api_page.py``."""

from __future__ import annotations

import ast
import inspect
import sys
from importlib import import_module
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import flask_msm


if TYPE_CHECKING:
    from collections.abc import Iterator


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
#: Public names by module.
NAMES = {"flask_msm": tuple(flask_msm.__all__), **BESIDE}


def _described(source: str) -> dict[str, str]:
    """Return the texts that stand behind the names that *source* assigns."""
    body = ast.parse(source).body
    return {
        ast.unparse(named.targets[0]): " ".join(str(text.value.value).split())
        for named, text in pairwise(body)
        if isinstance(named, ast.Assign)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
    }


SIGNALS = _described(inspect.getsource(flask_msm.signals))


def page() -> str:
    """Return the reference as Markdown with directives of autodoc in it."""
    return "\n".join(_parts())


def _parts() -> Iterator[str]:
    errors = [name for name in flask_msm.__all__ if name.endswith("Error")]
    found = [(name, getattr(flask_msm, name)) for name in flask_msm.__all__]
    signals = [name for name, value in found if not inspect.isclass(value) and not callable(value)]
    usual = [name for name in flask_msm.__all__ if name not in (*errors, *signals)]
    yield "## All names\n"
    for name in usual:
        yield _entry("flask_msm", name)
    yield "## Errors\n"
    for name in errors:
        yield _directive("autoexception", f"flask_msm.{name}", "show-inheritance")
    yield f"## Signals\n\n{flask_msm.signals.__doc__}\n"
    for name in signals:
        yield f"```{{eval-rst}}\n.. py:data:: flask_msm.{name}\n\n   {SIGNALS[name]}\n```\n"
    for module, names in BESIDE.items():
        yield f"## {module}\n"
        for name in names:
            yield _entry(module, name)


def _entry(module: str, name: str) -> str:
    found = getattr(import_module(module), name)
    if not inspect.isclass(found):
        return _directive("autofunction", f"{module}.{name}")
    shown = ", ".join(_members(found))
    return _directive("autoclass", f"{module}.{name}", *([f"members: {shown}"] if shown else []))


def _members(found: type[Any]) -> list[str]:
    """Return the members of a class that are described."""
    hidden = INTERNAL.get(found.__name__, set())
    own = [base for base in found.__mro__ if base.__module__.startswith("flask_msm")]
    names = sorted({name for base in own for name in vars(base) if not name.startswith("_")})
    return [
        name
        for name in names
        if name not in hidden
        and not (issubclass(found, dict) and hasattr(dict, name))
        and isinstance(inspect.getattr_static(found, name), (property, classmethod, staticmethod))
        | inspect.isroutine(inspect.getattr_static(found, name))
    ]


def _directive(kind: str, name: str, *options: str) -> str:
    lines = "".join(
        f"   :{option}\n" if ": " in option else f"   :{option}:\n" for option in options
    )
    return f"```{{eval-rst}}\n.. {kind}:: {name}\n{lines}```\n"


if __name__ == "__main__":
    sys.stdout.write(page())
