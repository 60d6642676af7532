"""However the tests are started, what they start can be ended by signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
from support.signals import ENDING, keep_ignored_signals_to_this_process


@pytest.fixture
def ignored():
    """Ignore the signals, as under ``nohup`` or in the background of a shell."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in ENDING}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_process_that_the_tests_start_ignores_no_ending_signal_and_the_run_still_does(ignored):
    del ignored
    keep_ignored_signals_to_this_process()

    for number in ENDING:
        os.kill(os.getpid(), number)
    asks = (
        f"import signal; print([n for n in {list(map(int, ENDING))} if signal.getsignal(n) == 1])"
    )
    done = subprocess.run([sys.executable, "-c", asks], capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n"
