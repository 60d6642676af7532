"""Child processes that never outlive the launcher, and signals that can be waited for."""

from __future__ import annotations

import ctypes
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from types import FrameType, TracebackType
from typing import Self


# <sys/prctl.h>
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None

# Time in seconds between two looks at something that does not signal when it is ready.
_LOOK_AGAIN = 0.02


class LaunchError(Exception):
    """Something did not start, or ended before its time; the text is for the user."""


class StopRequestedError(Exception):
    """The user asked to stop while something was still starting."""


class Signals:
    """Ctrl-C, SIGTERM, a closed terminal and ended children, as something to wait for.

    A handler that raised could interrupt the very clean-up it asks for; these only take note.
    """

    _STOP = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __init__(self) -> None:
        self.stop_requested = False
        self._bell, self._rope = socket.socketpair()
        self._before: dict[int, signal.Handlers | int | Callable[..., object] | None] = {}
        self._fd_before = -1

    def __enter__(self) -> Self:
        self._bell.settimeout(0)
        self._rope.settimeout(0)
        self._fd_before = signal.set_wakeup_fd(self._rope.fileno(), warn_on_full_buffer=False)
        for number in self._STOP:
            # nohup ignores it for us.
            if number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN:
                continue
            self._before[number] = signal.signal(number, self._take_note)
        self._before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, _wake_only)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._fd_before)
        self._bell.close()
        self._rope.close()

    def pause(self, seconds: float | None = None) -> None:
        """Return when a signal has arrived, also one from before the call, or after *seconds*."""
        if select.select([self._bell], [], [], seconds)[0]:
            self._bell.recv(1024)

    def _take_note(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self.stop_requested = True


def start(
    command: Sequence[str], *, environ: Mapping[str, str], keep_open: Sequence[int] = ()
) -> subprocess.Popen[bytes]:
    """Start *command* so that it ends when this process does, however that ends.

    It gets a session of its own: a Ctrl-C in the terminal reaches the launcher alone, which
    then ends its children in the right order.

    Args:
        command: Program and arguments.
        environ: Its whole environment.
        keep_open: File descriptors it inherits.

    Raises:
        LaunchError: The program cannot be run.
    """
    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            env=environ,
            pass_fds=keep_open,
            start_new_session=True,
            # Safe here: the launcher has one thread.
            preexec_fn=partial(_end_with_parent, os.getpid()),  # noqa: PLW1509
        )
    except OSError as error:
        msg = f"Cannot start {command[0]}: {error.strerror}."
        raise LaunchError(msg) from error


def has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Look whether *process* has ended; if so, what it started and left behind ends as well."""
    if process.returncode is None and process.poll() is not None:
        _end_group(process)
    return process.returncode is not None


def stop(processes: Sequence[subprocess.Popen[bytes]], *, patience: float) -> None:
    """End *processes* and what they started; after *patience* seconds in all, by force."""
    running = [process for process in processes if not has_ended(process)]
    for process in running:
        process.terminate()
    deadline = time.monotonic() + patience
    for process in running:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        _end_group(process)


def wait_until_ready(
    process: subprocess.Popen[bytes],
    is_ready: Callable[[], bool],
    *,
    name: str,
    limit: float,
    signals: Signals,
) -> None:
    """Return once *is_ready* is true.

    Raises:
        LaunchError: *process* ended, or *limit* seconds have passed.
        StopRequestedError: The user does not want it any more.
    """
    deadline = time.monotonic() + limit
    while not is_ready():
        if signals.stop_requested:
            raise StopRequestedError
        if has_ended(process):
            msg = f"{name} ended while it was starting (exit status {process.returncode})."
            raise LaunchError(msg)
        if time.monotonic() > deadline:
            msg = f"{name} was not ready after {limit:g} seconds."
            raise LaunchError(msg)
        signals.pause(_LOOK_AGAIN)


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """End who is left in the process group of *process*, which must have ended just now.

    A group keeps its number while anyone is in it, and workers whose master was killed are. Later
    the number may belong to another group, so this is not done twice.
    """
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _wake_only(number: int, frame: FrameType | None) -> None:
    """Handle a signal by doing nothing: only a handled one wakes ``Signals.pause``."""
    del number, frame


def _end_with_parent(parent: int) -> None:
    """In the child, before it becomes its program: ask the kernel to end it with *parent*.

    Only Linux can be asked. Elsewhere a launcher that is killed outright leaves its children.
    """
    if _LIBC is None:
        return
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # It ended before the kernel was asked.
        os._exit(1)
