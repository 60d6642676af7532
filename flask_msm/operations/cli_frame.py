"""What all commands have in common: the console, how they answer, what they ask before."""

from __future__ import annotations

import getpass
import json
import os
import re
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from typing import TYPE_CHECKING, Any, NamedTuple

import click
from flask import current_app
from flask.cli import ScriptInfo, with_appcontext

from flask_msm.errors import CommandError, UnreachedError, one_line

from .projection import applied


if TYPE_CHECKING:
    from .console import Console, Outcome


#: Takes the commands as they are defined; ``command_group.py`` hands them on to ``flask msm``.
COMMANDS = click.Group("msm")
#: Longest line that is printed, characters.
LONGEST_LINE = 1000
#: Time in seconds between two looks, of ``--watch``, ``--follow`` and ``--wait``.
PAUSE, WAIT_PAUSE = 2.0, 0.3
#: What a command exits with that reached no node.
UNREACHED = 3
_SPAN = re.compile(r"([0-9]{1,6})([smhd])")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class Order(NamedTuple):
    """How a change is made.

    Attributes:
        who: The operator.
        wait: Time in seconds to wait until all workers obey; ``None`` to return at once.
        yes: Ask nothing.
        dry_run: Change nothing.
        as_json: Answer a program.
    """

    who: str
    reason: str
    wait: float | None
    yes: bool
    dry_run: bool
    as_json: bool

    @property
    def by(self) -> dict[str, Any]:
        """The arguments that all commands of the console take."""
        return {"actor": self.who, "reason": self.reason, "based_on": None}


class Refused(click.ClickException):
    """A command that could not be carried out.

    Attributes:
        code: A short name for programs.
    """

    def __init__(self, text: str, *, code: str, exit_code: int = 2) -> None:
        super().__init__(text)
        self.code = code
        self.exit_code = exit_code  # type: ignore[misc]


class Span(click.ParamType[float]):
    """A length of time, for example ``1h``."""

    name = "time"

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        """Return seconds."""
        found = _SPAN.fullmatch(str(value))
        if found is None:
            self.fail(f"{value!r} is not a time: 30s, 15m, 1h or 2d", param, ctx)
        return float(found[1]) * _UNITS[found[2]]


def looking(
    name: str, *, group: click.Group = COMMANDS
) -> Callable[[Callable[..., Any]], click.Command]:
    """Register a command that shows something: it gets the console and ``as_json``."""

    def registered(function: Callable[..., Any]) -> click.Command:
        return group.command(name)(answering(visiting(function)))

    return registered


def changing(
    name: str, *, group: click.Group = COMMANDS
) -> Callable[[Callable[..., Any]], click.Command]:
    """Register a command that changes something: it gets the console and an ``Order``."""

    def registered(function: Callable[..., Any]) -> click.Command:
        @wraps(function)
        def ordered(
            *args: Any,
            who: str | None,
            reason: str,
            wait: bool,
            timeout: float,
            yes: bool,
            dry_run: bool,
            as_json: bool,
            **options: Any,
        ) -> None:
            within = timeout if wait else None
            order = Order(who or operator(), reason, within, yes, dry_run, as_json)
            function(*args, order=order, **options)

        command: Callable[..., Any] = answering(visiting(ordered))
        for option in reversed(_CHANGE_OPTIONS):
            command = option(command)
        return group.command(name)(command)

    return registered


_CHANGE_OPTIONS = (
    click.option("--reason", default="", help="Kept with the change."),
    click.option("--as", "who", help="Who changes it; user@host if not given."),
    click.option("--wait", is_flag=True, help="Return when all workers obey."),
    click.option(
        "--timeout",
        type=click.FloatRange(min=0),
        default=60.0,
        show_default=True,
        help="With --wait: how long, in seconds.",
    ),
    click.option("--dry-run", is_flag=True, help="Say what follows and change nothing."),
    click.option("-y", "--yes", is_flag=True, help="Ask nothing."),
)


def answering(command: Callable[..., Any]) -> Callable[..., Any]:
    """Let *command* answer programs as well: ``-o json`` or ``--json``."""

    @click.option(
        "-o", "--output", type=click.Choice(["text", "json"]), default="text", help="How to answer."
    )
    @click.option("--json", "as_json", is_flag=True, help="The same as -o json.")
    @wraps(command)
    def answered(*args: Any, output: str, as_json: bool, **options: Any) -> Any:
        return command(*args, as_json=as_json or output == "json", **options)

    return answered


def visiting(command: Callable[..., Any]) -> Callable[..., Any]:
    """Hand the console of the current application to *command*: a visitor's, no worker's."""

    @with_appcontext
    @wraps(command)
    def visited(*args: Any, **options: Any) -> Any:
        console = visitor()
        try:
            return command(console, *args, **options)
        except UnreachedError as error:
            raise Refused(str(error), code="unreached", exit_code=UNREACHED) from None
        except CommandError as error:
            raise click.UsageError(str(error)) from None
        finally:
            _warn_of_other_keys(console)
            close(console)

    return visited


def visitor() -> Console:
    """Return the console of the current application as a visitor uses it."""
    state = current_app.extensions.get("msm")
    if state is None:
        raise click.UsageError(f"{current_app.name} does not keep its sessions in memcached")
    console: Console = state.console
    if console.application.cluster is None:
        raise click.UsageError("MSM_NODES is not set: there is no cluster to look after")
    if not current_app.secret_key:
        raise click.UsageError("SECRET_KEY is not set: what workers say cannot be verified")
    if (kept := current_app.session_interface) is not state.interface:
        # Flask-Session for example, when it was not removed.
        theirs = f"{type(kept).__module__}.{type(kept).__qualname__}"
        text = f"sessions of {current_app.name} are kept by {theirs}, which was set after init_app"
        click.echo(f"Warning: {text}; flask_msm has none of them", err=True)
    console.visit()
    return console


def _warn_of_other_keys(console: Console) -> None:
    cluster = console.application.cluster
    if cluster is not None and cluster.control.shared.left_alone:
        click.echo(
            "Warning: what workers share on the nodes cannot be read here: give this command line"
            " SECRET_KEY, MSM_ENCRYPTION_KEYS and version of the workers, or an own MSM_KEY_PREFIX",
            err=True,
        )


def close(console: Console) -> None:
    """Close the connections of a visitor."""
    if (cluster := console.application.cluster) is not None:
        for node in cluster.nodes.values():
            node.close()


def operator() -> str:
    """Return who is at the command line."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError, ImportError):  # a user without a name
        user = f"uid {os.getuid()}" if hasattr(os, "getuid") else "unknown"
    return f"{user}@{socket.gethostname()}"


def show(facts: Any, lines: list[str], json_wanted: bool) -> None:  # noqa: FBT001
    """Print *facts* as JSON or *lines* as text, without anything a terminal would obey."""
    text = "\n".join(one_line(line, LONGEST_LINE) for line in lines)
    click.echo(json.dumps(facts) if json_wanted else text)


def is_terminal() -> bool:
    """Return whether there is a person who can be asked."""
    return sys.stdin.isatty()


def goes_on(order: Order, follows: str, *, hurts: bool = True) -> bool:
    """Return whether to go on with what *follows* when it is done; ask at a terminal if it hurts.

    Without a terminal there is no person to ask, and it goes on as a script expects.
    """
    if order.dry_run:
        facts = {"dry_run": True, "follows": follows}
        show(facts, [follows, "Nothing was changed (--dry-run)."], order.as_json)
        return False
    if hurts and not order.yes and is_terminal():
        click.confirm(f"{one_line(follows, LONGEST_LINE)}\nGo on?", abort=True, err=True)
    return True


def show_change(
    console: Console, order: Order, done: Outcome, facts: dict[str, Any], text: str
) -> None:
    """Say what was changed, which nodes know it now, and which workers obey, if that is waited for.

    Exits with 3 when no node knows it, with 1 when not all workers obey in time.
    """
    told = ", ".join(done.nodes) or "no node: only workers of this host hear of it"
    facts, lines, code = {**facts, "told": list(done.nodes)}, [text, f"Told to {told}."], 0
    if not done.nodes:
        code = UNREACHED
    elif order.wait is not None and done.stamp is not None:
        obey, workers = _wait(console, int(done.stamp), order.wait)
        facts |= {"obeyed_by": obey, "workers": workers}
        lines.append(f"Obeyed by {obey} of {workers} workers.")
        code = 0 if obey == workers else 1
    show(facts, lines, order.as_json)
    if code:
        raise SystemExit(code)


def _wait(console: Console, stamp: int, seconds: float) -> tuple[int, int]:
    """Return how many workers have applied *stamp*, of how many, as soon as all have."""
    until = time.monotonic() + seconds
    while True:
        living = [one for one in console.survey().workers if not one.stale and not one.gone]
        obey = sum(applied(worker) >= stamp for worker in living)
        if obey == len(living) or time.monotonic() >= until:
            return obey, len(living)
        time.sleep(WAIT_PAUSE)


def complete_nodes(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001
    """Return the ids of nodes that begin with what was typed."""
    return _completed(ctx, incomplete, lambda console: [one.id for one in console.settings.nodes])


def complete_attributes(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001
    """Return the attributes on the blacklist that begin with what was typed."""
    return _completed(
        ctx, incomplete, lambda console: [one.attribute or "" for one in console.listed()]
    )


def _completed(
    ctx: click.Context, incomplete: str, found: Callable[[Console], list[str]]
) -> list[str]:
    """Return what was *found* and fits; nothing when the application cannot be asked."""
    # A shell that completes shows no errors.
    with suppress(Exception), ctx.ensure_object(ScriptInfo).load_app().app_context():
        console = visitor()
        try:
            return [name for name in found(console) if name.startswith(incomplete)]
        finally:
            close(console)
    return []
