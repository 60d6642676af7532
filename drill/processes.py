"""Child processes that never outlive the drill, and ports that stay its own."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from .waiting import PATIENCE, DrillError


HOST = "127.0.0.1"
_ATTEMPTS = 5


def start(
    command: Sequence[str],
    log: Path,
    *,
    environ: Mapping[str, str] | None = None,
    folder: Path | None = None,
    keep_open: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start *command*; it ends with the drill, however that ends.

    It gets a session of its own: a Ctrl-C in the terminal reaches the drill alone, which then
    ends its children in the right order. To be called by the main thread, for the kernel ends a
    child with the thread that started it.

    Args:
        command: Program and arguments.
        log: File that takes what it prints.
        environ: More environment variables.
        folder: Its working directory, if that is another one.
        keep_open: File descriptors it inherits.
    """
    # Part of util-linux; without it, a drill that is killed outright leaves its children.
    setpriv = shutil.which("setpriv")
    prefix = [setpriv, "--pdeathsig", "KILL"] if setpriv else []
    with log.open("ab") as output:
        return subprocess.Popen(
            [*prefix, *command],
            stdin=subprocess.DEVNULL,
            cwd=folder,
            stdout=output,
            stderr=output,
            env={**os.environ, **(environ or {})},
            pass_fds=keep_open,
            start_new_session=True,
        )


def end(process: subprocess.Popen[bytes], how: signal.Signals = signal.SIGTERM) -> None:
    """End *process* and what it started, by force where it does not obey."""
    if process.returncode is None:
        process.send_signal(how)
        # Something that is stopped hears of nothing else.
        process.send_signal(signal.SIGCONT)
        try:
            process.wait(PATIENCE / 3)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        # Workers of a gunicorn that was killed are still in its group.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def bound() -> socket.socket:
    """Return a socket bound to a free port, on which no process listens yet.

    The port stays taken while it is closed for callers (``shutdown``) and opened again
    (``listen``): that is kept by sockets only whose port was asked for by number.
    """
    for _ in range(_ATTEMPTS):
        with socket.socket() as probe:
            probe.bind((HOST, 0))
            address = probe.getsockname()
        made = socket.socket()
        # To listen again while connections of before are not over.
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            made.bind(address)
        except OSError:
            made.close()
        else:
            return made
    message = "no free port was found"
    raise DrillError(message)


def port_of(listener: socket.socket) -> int:
    """Return the port of a socket."""
    return int(listener.getsockname()[1])


def refuse(listener: socket.socket) -> None:
    """Refuse connections, also waiting ones, until a process listens again."""
    with suppress(OSError):
        listener.shutdown(socket.SHUT_RDWR)
