"""The short drill: everything fails while people click, and nobody notices."""

from __future__ import annotations

import subprocess
import sys

import pytest
from support.workers import ROOT


pytestmark = pytest.mark.memcached


def test_in_the_short_drill_nothing_is_lost_and_nothing_fails():
    done = subprocess.run(
        [sys.executable, "-m", "drill", "--short", "--seconds", "0.5"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
