"""The short drill: everything fails while people click, and no session notices."""

from __future__ import annotations

import subprocess
import sys

import pytest
from support.workers import ROOT

from drill.acts import SHORT


pytestmark = pytest.mark.memcached


@pytest.mark.parametrize("act", SHORT)
def test_in_an_act_of_the_short_drill_nothing_is_lost_and_nothing_fails(act):
    done = subprocess.run(
        # Other tests run beside it: times say nothing.
        [sys.executable, "-m", "drill", "--acts", act, "--seconds", "0.5", "--any-speed"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
