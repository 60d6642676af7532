"""``python -m flask_msm --config FILE ...``: the commands, without importing the application.

The file is TOML with the names of the configuration: those of this package (``MSM_*``),
``SECRET_KEY``, ``SECRET_KEY_FALLBACKS`` and ``APP_NAME``. It has secrets in it, so it is refused
when others than its owner may read it.
"""

from __future__ import annotations

import os
import stat
import tomllib
from pathlib import Path
from typing import Any

import click
from flask import Flask
from flask.cli import ScriptInfo

from .errors import ConfigError
from .extension import MemcachedSessionManager
from .operations.command_group import MsmGroup, msm_commands


#: Environment variable that names the file where ``--config`` does not.
VARIABLE = "FLASK_MSM_CONFIG"
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_NAMES = ("SECRET_KEY", "SECRET_KEY_FALLBACKS", "APP_NAME")


def configuration(file: Path) -> dict[str, Any]:
    """Return what a file of settings says.

    Raises:
        UsageError: It cannot be read, others may read it, or something in it is not known.
    """
    try:
        with file.open("rb") as opened:
            mode = stat.S_IMODE(os.fstat(opened.fileno()).st_mode)
            if mode & _OTHERS:
                text = f"{file} has secrets in it and others may read it ({mode:04o}): chmod 600"
                raise click.UsageError(text)
            found = tomllib.load(opened)
    except OSError as error:
        raise click.UsageError(f"{file} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        # The message of the parser may quote a secret.
        raise click.UsageError(f"{file} is not TOML") from None
    unknown = [name for name in found if name not in _NAMES and not name.startswith("MSM_")]
    if unknown:
        names = ", ".join(_NAMES)
        raise click.UsageError(f"{file}: {unknown[0]} is not known; there are MSM_*, {names}")
    if not isinstance(found.get("APP_NAME"), str):
        raise click.UsageError(f"{file}: APP_NAME is missing, the name of the Flask application")
    return found


def application(file: Path) -> Flask:
    """Return an application without views that has the settings of *file*."""
    settings = configuration(file)
    app = Flask(settings.pop("APP_NAME"), root_path=str(file.resolve().parent))
    # Pages need a server, and who may see them is a function of the real application.
    settings = {name: value for name, value in settings.items() if "_ADMIN" not in name}
    app.config.update(settings)
    try:
        MemcachedSessionManager(app)
    except ConfigError as error:
        raise click.UsageError(f"{file}: {error}") from None
    return app


class _FromFile(MsmGroup):
    """The commands of ``flask msm``, for the application of a file."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return msm_commands.list_commands(ctx)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command of that name."""
        return msm_commands.get_command(ctx, cmd_name)


@click.group(
    "python -m flask_msm", cls=_FromFile, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.option(
    "--config",
    envvar=VARIABLE,
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help=f"File of settings (TOML), or the variable {VARIABLE}.",
)
@click.pass_context
def main(ctx: click.Context, config: Path) -> None:
    """Look after the sessions in memcached, without importing the application."""
    ctx.obj = ScriptInfo(create_app=lambda: application(config))


if __name__ == "__main__":
    main(prog_name="python -m flask_msm")
