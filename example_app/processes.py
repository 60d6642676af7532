"""Signals that can be waited for, and waiting that they end."""

from __future__ import annotations

import select
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Self

from harness.processes import has_ended


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


def _wake_only(number: int, frame: FrameType | None) -> None:
    """Handle a signal by doing nothing: only a handled one wakes ``Signals.pause``."""
    del number, frame
