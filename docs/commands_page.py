"""The list of all commands, made from the command line: ``python docs/commands_page.py``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from flask_msm.operations.command_group import msm_commands


if TYPE_CHECKING:
    from collections.abc import Iterator

#: Options that many commands have, described once.
COMMON = {"output", "as_json", "reason", "who", "wait", "timeout", "dry_run", "yes"}


def page() -> str:
    """Return the list."""
    return "\n".join(_commands(msm_commands, "msm"))


def _commands(group: click.Group, path: str) -> Iterator[str]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None  # noqa: S101  (it was listed)
        words = " ".join([path, name, *(p.human_readable_name for p in _arguments(command))])
        yield f"### {path} {name}\n\n```text\nflask {words}\n```\n\n{_help(command)}\n"
        own = [p for p in command.params if isinstance(p, click.Option) and p.help]
        is_change = any(p.name == "reason" for p in own)
        rows = [p for p in own if not (p.name in COMMON and (is_change or p.name != "timeout"))]
        for option in rows:
            choices = option.type.choices if isinstance(option.type, click.Choice) else ()
            more = f" One of {', '.join(f'`{one}`' for one in choices)}." if choices else ""
            yield f"- `{', '.join(option.opts)}`: {option.help}{more}"
        if is_change:
            yield "- and the options of every change"
        yield ""
        if isinstance(command, click.Group):
            yield from _commands(command, f"{path} {name}")


def _arguments(command: click.Command) -> list[click.Argument]:
    return [p for p in command.params if isinstance(p, click.Argument)]


def _help(command: click.Command) -> str:
    text = command.help or ""
    return "\n".join(line.strip() for line in text.strip().splitlines()).replace("``", "`")


if __name__ == "__main__":
    sys.stdout.write(page())
