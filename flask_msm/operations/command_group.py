"""``flask msm``: the group, whose commands are imported when one of them is used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from flask.cli import AppGroup


if TYPE_CHECKING:
    import click


class _Commands(AppGroup):
    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        _register()
        return super().list_commands(ctx)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command of that name."""
        _register()
        return super().get_command(ctx, cmd_name)


def _register() -> None:
    """Import what adds itself to the group: a worker does not need it."""
    import_module("flask_msm.operations.cli")


msm_commands = _Commands("msm", help="Look after the sessions in memcached.")
