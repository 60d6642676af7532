"""Child processes that never outlive this one, and ports that stay its own."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path


HOST = "127.0.0.1"
ROOT = Path(__file__).absolute().parents[1]
_ATTEMPTS = 5
#: Seconds a process may take to end by itself.
_END_LIMIT = 60.0


def start(
    command: Sequence[str],
    *,
    log: Path | None = None,
    shown: bool = False,
    environ: Mapping[str, str] | None = None,
    folder: Path | None = None,
    keep_open: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start *command*; it ends with this process, however that ends.

    It gets a session of its own: a Ctrl-C in the terminal reaches this process alone, which then
    ends its children in the right order.

    Args:
        command: Program and arguments.
        log: File that takes what it prints; without one its errors can be read from the process.
        shown: What it prints is printed here instead.
        environ: More environment variables.
        folder: Its working directory, if that is another one.
        keep_open: File descriptors it inherits.
    """
    # The kernel ends a child with the thread that started it, which may be over before the process.
    is_main = threading.current_thread() is threading.main_thread()
    prefix = _ending_with_parent() if is_main else ()
    with (log or Path(os.devnull)).open("ab") as output:
        return subprocess.Popen(
            [*prefix, *command],
            stdin=subprocess.DEVNULL,
            cwd=folder,
            stdout=None if shown else output,
            stderr=None if shown else output if log else subprocess.PIPE,
            env={**os.environ, **(environ or {})},
            pass_fds=keep_open,
            start_new_session=True,
        )


def end(
    process: subprocess.Popen[bytes],
    how: signal.Signals = signal.SIGTERM,
    patience: float = _END_LIMIT,
) -> None:
    """End *process* and what it started, after *patience* seconds by force."""
    if process.returncode is None:
        process.send_signal(how)
        # A process that is stopped takes no other signal.
        process.send_signal(signal.SIGCONT)
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        _end_group(process)


def has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Return whether *process* has ended; if so, what it started and left behind ends as well."""
    if process.returncode is None and process.poll() is not None:
        _end_group(process)
    return process.returncode is not None


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """End what is left in the process group of *process*, which must have ended just now.

    Workers of a gunicorn that was killed are; the group keeps its number while there are any.
    Later that may be the number of another group, so this is not done twice.
    """
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


@cache
def _ending_with_parent() -> tuple[str, ...]:
    """Return what to put before a command that the kernel is to end with its parent.

    Part of util-linux; without it, a process that is killed outright leaves its children.
    """
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        return ()
    done = subprocess.run([setpriv, "--help"], capture_output=True, text=True, check=False)
    return (setpriv, "--pdeathsig", "KILL") if "--pdeathsig" in done.stdout else ()


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
    raise AssertionError("no free port was found")


def port_of(listener: socket.socket) -> int:
    """Return the port of a socket."""
    return int(listener.getsockname()[1])


def refuse(listener: socket.socket) -> None:
    """Refuse connections, also waiting ones, until a process listens again."""
    with suppress(OSError):
        listener.shutdown(socket.SHUT_RDWR)
