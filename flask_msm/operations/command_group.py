"""``flask msm``: the group, whose commands are imported when one of them is used."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from flask.cli import AppGroup


if TYPE_CHECKING:
    import click


#: How JSON is asked for.
_WANTS_JSON = ("--json", "-ojson", "--output=json")


class MsmGroup(AppGroup):
    """The group, which answers programs that made a mistake with JSON as well."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        self._complete()
        return super().list_commands(ctx)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command of that name."""
        self._complete()
        return super().get_command(ctx, cmd_name)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take note of whether JSON is wanted, before anything can be wrong."""
        pairs = pairwise(args)
        by_pair = any(pair in (("-o", "json"), ("--output", "json")) for pair in pairs)
        ctx.meta[__name__] = by_pair or any(arg in _WANTS_JSON for arg in args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; say what is wrong as JSON where that is wanted."""
        import click  # noqa: PLC0415 - only where a command is run

        try:
            return super().invoke(ctx)
        except click.ClickException as error:
            if not ctx.meta[__name__]:
                raise
            code = getattr(error, "code", "usage" if error.exit_code == 2 else "failed")
            click.echo(json.dumps({"error": {"code": code, "text": error.format_message()}}))
            ctx.exit(error.exit_code)

    def _complete(self) -> None:
        """Take the commands in, which a worker does not need."""
        from . import cli, cli_changes  # noqa: F401, PLC0415 - they define the commands
        from .cli_frame import COMMANDS  # noqa: PLC0415

        self.commands.update(COMMANDS.commands)


msm_commands = MsmGroup(
    "msm",
    help="Look after the sessions in memcached.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
