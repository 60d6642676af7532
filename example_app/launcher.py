"""Starts the shop: memcached nodes, gunicorn, and the end of both."""

from __future__ import annotations

import http.client
import os
import pwd
import secrets
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from werkzeug.security import generate_password_hash

from example_app.place import ADMIN_HASH, CONTROL_DIR, LOCAL_DIR, NODES, OPERATOR, SECRET_KEY
from example_app.processes import (
    LaunchError,
    Signals,
    StopRequestedError,
    has_ended,
    start,
    stop,
    wait_until_ready,
)


HOST = "127.0.0.1"
USUAL_PORT = 8000

# Times in seconds.
_NODE_START_LIMIT = 60.0
_SHOP_START_LIMIT = 90.0
_NODE_STOP_PATIENCE = 3.0
_SHOP_STOP_PATIENCE = 6.0

_NODE_START_ATTEMPTS = 3
_LOOK_FOR_WISHES = 0.2
_HERE = Path(__file__).absolute().parent

#: Every memcached that was started, to be ended with the shop.
_processes: list[subprocess.Popen[bytes]] = []


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


@dataclass(frozen=True, slots=True)
class Node:
    """One memcached that was started here."""

    id: str
    port: int
    process: subprocess.Popen[bytes]

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid


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
    binary = shutil.which("memcached") if wishes.nodes else None
    nodes = _start_nodes(wishes.nodes, binary, signals, started) if binary else []
    # Of this run alone, and gone with it. Without memcached this is where sessions are kept.
    local = Path(started.enter_context(TemporaryDirectory(prefix="flask_msm-shop-")))
    control = Path(started.enter_context(TemporaryDirectory(prefix="flask_msm-shop-")))
    for node in nodes:
        _note(control, node)
    password = secrets.token_urlsafe(9)
    environ = {
        NODES: " ".join(f"{node.id}:{HOST}:{node.port}" for node in nodes),
        SECRET_KEY: secrets.token_urlsafe(32),
        LOCAL_DIR: str(local),
        CONTROL_DIR: str(control),
        ADMIN_HASH: generate_password_hash(password),
    }
    shop = _start_shop(listener, environ, wishes.workers, signals, started)
    print(_welcome(port, nodes, wishes.workers, shop, wants_nodes=wishes.nodes > 0))
    print(_operators(port, password))
    print("\nCtrl-C closes the shop and ends all of this.", flush=True)
    _watch(shop, nodes, signals, lambda node: _revive(node, binary or "", control, signals))
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


def _start_nodes(count: int, binary: str, signals: Signals, started: ExitStack) -> list[Node]:
    started.callback(stop, _processes, patience=_NODE_STOP_PATIENCE)
    return [_start_node(f"n{n}", binary, signals, _processes) for n in range(1, count + 1)]


def _start_node(
    node_id: str, binary: str, signals: Signals, processes: list[subprocess.Popen[bytes]]
) -> Node:
    attempts_left = _NODE_START_ATTEMPTS
    while True:
        node = _start_memcached(node_id, binary)
        processes.append(node.process)
        try:
            wait_until_ready(
                node.process,
                partial(_is_serving, node),
                name=f"memcached {node_id}",
                limit=_NODE_START_LIMIT,
                signals=signals,
            )
        except LaunchError:
            # Most likely another process took the port before memcached did.
            attempts_left -= 1
            if not attempts_left:
                raise
        else:
            return node


def _start_memcached(node_id: str, binary: str, port: int | None = None) -> Node:
    port = port or _free_port()
    command = [binary, "-l", HOST, "-p", str(port), "-U", "0", "-m", "64"]
    if os.geteuid() == 0:
        # memcached refuses to run as root without ``-u``.
        command += ["-u", pwd.getpwuid(os.geteuid()).pw_name]
    return Node(node_id, port, start(command, environ=os.environ))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _is_serving(node: Node) -> bool:
    """Ask who is there: another memcached on this port would answer as well."""
    try:
        with socket.create_connection((HOST, node.port), timeout=1.0) as connection:
            connection.sendall(b"stats\r\n")
            with connection.makefile("rb") as reply:
                return reply.readline() == b"STAT pid %d\r\n" % node.pid
    except OSError:
        return False


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
    shop = start(command, environ={**os.environ, **environ}, keep_open=[listener.fileno()])
    started.callback(stop, [shop], patience=_SHOP_STOP_PATIENCE)
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
    connection = http.client.HTTPConnection(HOST, port, timeout=1.0)
    try:
        connection.request("GET", "/signed-out")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _watch(
    shop: subprocess.Popen[bytes],
    nodes: list[Node],
    signals: Signals,
    revive: Callable[[Node], Node | None],
) -> None:
    """Return when a stop is asked for; print when a node has ended, which is what to try here."""
    up = {node.id: node for node in nodes}
    ended: dict[str, Node] = {}
    while not signals.stop_requested:
        if has_ended(shop):
            msg = f"gunicorn ended (exit status {shop.returncode}), so the shop is closed."
            raise LaunchError(msg)
        for node in [node for node in up.values() if has_ended(node.process)]:
            ended[node.id] = up.pop(node.id)
            revive(node)
            left = ", ".join(up) or "none"
            print(f"  {node.id} (pid {node.pid}) has ended. Nodes left: {left}.", flush=True)
        for node in list(ended.values()):
            started = revive(node)
            if started is not None:
                up[node.id] = started
                del ended[node.id]
                print(f"  {node.id} is up again (pid {started.pid}), empty.", flush=True)
        signals.pause(_LOOK_FOR_WISHES if nodes else None)


def _note(control: Path, node: Node) -> None:
    (control / f"{node.id}.pid").write_text(str(node.pid))


def _revive(node: Node, binary: str, control: Path, signals: Signals) -> Node | None:
    """Start a node that has ended again, if a click asked for it."""
    (control / f"{node.id}.pid").unlink(missing_ok=True)
    wish = control / f"{node.id}.restart"
    if not wish.exists():
        return None
    wish.unlink()
    again = _start_memcached(node.id, binary, node.port)
    _processes.append(again.process)
    wait_until_ready(
        again.process,
        partial(_is_serving, again),
        name=f"memcached {node.id}",
        limit=_NODE_START_LIMIT,
        signals=signals,
    )
    _note(control, again)
    return again


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
