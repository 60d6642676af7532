"""Starts the shop: memcached nodes, gunicorn, and the end of both."""

from __future__ import annotations

import http.client
import secrets
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from werkzeug.security import generate_password_hash

from example_app.place import ADMIN_HASH, CONTROL_DIR, LOCAL_DIR, NODES, OPERATOR, SECRET_KEY
from example_app.processes import LaunchError, Signals, StopRequestedError, wait_until_ready
from harness.client import Client
from harness.memcached import Memcached, addresses
from harness.processes import HOST, end, has_ended, start


USUAL_PORT = 8000

# Times in seconds.
_SHOP_START_LIMIT = 90.0
_SHOP_STOP_PATIENCE = 6.0

_LOOK_FOR_WISHES = 0.2
_HERE = Path(__file__).absolute().parent


@dataclass(frozen=True, slots=True)
class Wishes:
    """What was asked for on the command line.

    Attributes:
        port: ``None`` for the usual one, or any if that is taken; 0 for any.
        workers: gunicorn's worker processes.
        nodes: memcached processes.
    """

    port: int | None
    workers: int
    nodes: int


class Node(Memcached):
    """One memcached of the shop.

    Args:
        node_id: Its id.
    """

    def __init__(self, node_id: str) -> None:
        super().__init__("-m", "64")
        self.id = node_id


def run(wishes: Wishes) -> int:
    """Run the shop until it is asked to stop; return the exit status of the program."""
    try:
        # In any case all that is on the stack ends: the shop first, then its nodes.
        with Signals() as signals, ExitStack() as started:
            _run(wishes, signals, started)
    except StopRequestedError:
        pass
    except LaunchError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _run(wishes: Wishes, signals: Signals, started: ExitStack) -> None:
    listener = started.enter_context(_listen(wishes.port))
    port = listener.getsockname()[1]
    nodes = _start_nodes(wishes.nodes, started) if shutil.which("memcached") else []
    # Of this run alone, and gone with it. Without memcached this is where sessions are kept.
    local = Path(started.enter_context(TemporaryDirectory(prefix="flask_msm-shop-")))
    control = Path(started.enter_context(TemporaryDirectory(prefix="flask_msm-shop-")))
    for node in nodes:
        _note(control, node)
    password = secrets.token_urlsafe(9)
    environ = {
        NODES: addresses(nodes),
        SECRET_KEY: secrets.token_urlsafe(32),
        LOCAL_DIR: str(local),
        CONTROL_DIR: str(control),
        ADMIN_HASH: generate_password_hash(password),
    }
    shop = _start_shop(listener, environ, wishes.workers, signals, started)
    print(_welcome(port, nodes, wishes.workers, shop, wants_nodes=wishes.nodes > 0))
    print(_operators(port, password))
    print("\nCtrl-C closes the shop and ends all of this.", flush=True)
    _watch(shop, nodes, signals, partial(_revive, control=control))
    print("\nClosing the shop ...", flush=True)


def _listen(port: int | None) -> socket.socket:
    """Take a port before anything is started: gunicorn inherits it, no other can take it."""
    candidates = (USUAL_PORT, 0) if port is None else (port,)
    problem = OSError()
    for candidate in candidates:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, candidate))
        except OSError as error:
            listener.close()
            problem = error
        else:
            return listener
    msg = f"Cannot listen on {HOST}:{port}: {problem.strerror}."
    raise LaunchError(msg) from problem


def _start_nodes(count: int, started: ExitStack) -> list[Node]:
    try:
        return [started.enter_context(Node(f"n{number}")) for number in range(1, count + 1)]
    except AssertionError as error:
        raise LaunchError(str(error)) from error


def _start_shop(
    listener: socket.socket,
    environ: dict[str, str],
    workers: int,
    signals: Signals,
    started: ExitStack,
) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "gunicorn", "--config", str(_HERE / "gunicorn_settings.py")]
    command += ["--chdir", str(_HERE.parent), "--workers", str(workers)]
    command += ["--bind", f"fd://{listener.fileno()}", "example_app:create_app()"]
    shop = start(command, shown=True, environ=environ, keep_open=[listener.fileno()])
    started.callback(end, shop, patience=_SHOP_STOP_PATIENCE)
    port = listener.getsockname()[1]
    # Only gunicorn listens from here on: when it ends, browsers are refused and do not hang.
    listener.close()
    wait_until_ready(
        shop,
        partial(_is_open, port),
        name="gunicorn",
        limit=_SHOP_START_LIMIT,
        signals=signals,
    )
    return shop


def _is_open(port: int) -> bool:
    with suppress(OSError, http.client.HTTPException):
        return Client(limit=1.0).send(port, "/signed-out").status == http.HTTPStatus.OK
    return False


def _watch(
    shop: subprocess.Popen[bytes],
    nodes: list[Node],
    signals: Signals,
    revive: Callable[[Node], bool],
) -> None:
    """Return when a stop is asked for; print when a node has ended, which is what to try here."""
    ended: set[str] = set()
    while not signals.stop_requested:
        if has_ended(shop):
            msg = f"gunicorn ended (exit status {shop.returncode}), so the shop is closed."
            raise LaunchError(msg)
        for node in nodes:
            if node.id not in ended and node.has_ended():
                ended.add(node.id)
                revive(node)
                left = ", ".join(one.id for one in nodes if one.id not in ended) or "none"
                print(f"  {node.id} (pid {node.pid}) has ended. Nodes left: {left}.", flush=True)
            elif node.id in ended and revive(node):
                ended.remove(node.id)
                print(f"  {node.id} is up again (pid {node.pid}), empty.", flush=True)
        signals.pause(_LOOK_FOR_WISHES if nodes else None)


def _note(control: Path, node: Node) -> None:
    (control / f"{node.id}.pid").write_text(str(node.pid))


def _revive(node: Node, control: Path) -> bool:
    """Start a node that has ended again, if a click asked for it; return whether one did."""
    (control / f"{node.id}.pid").unlink(missing_ok=True)
    wish = control / f"{node.id}.restart"
    if not wish.exists():
        return False
    node.restart()
    _note(control, node)
    # Last: a second click while it starts asks for nothing more, least of all when it ends again.
    wish.unlink()
    return True


def _operators(port: int, password: str) -> str:
    return (
        f"Dashboard: http://{HOST}:{port}/msm-admin/   user {OPERATOR}, password {password}\n"
        f"To break things and watch: http://{HOST}:{port}/break"
    )


def _welcome(
    port: int,
    nodes: list[Node],
    workers: int,
    shop: subprocess.Popen[bytes],
    *,
    wants_nodes: bool,
) -> str:
    lines = [f"The shop is open: http://{HOST}:{port}", ""]
    served = f"{_count(workers, 'worker')} (gunicorn, pid {shop.pid})"
    if nodes:
        lines += [f"{served}, {_count(len(nodes), 'memcached node')}:"]
        lines += [f"  {node.id}  {HOST}:{node.port:<5}  pid {node.pid}" for node in nodes]
    else:
        reason = "memcached is not installed" if wants_nodes else "No nodes were asked for"
        keeps = "keeps" if workers == 1 else "keep"
        lines += [f"{reason}: {served} {keeps} all sessions in local storage."]
    if len(nodes) > 1:
        lines += [
            "",
            'Try it: sign in, fill the cart, open "My session": it names the nodes with a copy.',
            f"End one of them in another terminal, for example: kill {nodes[0].pid}",
            "Reload: you are still signed in, and the cart is still there.",
        ]
    return "\n".join([*lines, ""])


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"
