"""The short drill: everything fails while people click, and no session notices."""

from __future__ import annotations

import subprocess
import sys

import pytest

from drill.__main__ import lacking
from drill.acts import SHORT, TOGETHER
from harness.processes import ROOT


pytestmark = pytest.mark.memcached


@pytest.mark.parametrize("acts", SHORT)
def test_in_the_acts_of_the_short_drill_nothing_is_lost_and_nothing_fails(acts):
    if missing := lacking(acts.partition(TOGETHER)[0]):
        pytest.skip(missing)

    # Other tests run beside it: times say nothing, and fewer visitors leave them a processor.
    options = ("--any-speed", "--visitors", "3", "--seconds", "0.5")
    done = subprocess.run(
        [sys.executable, "-m", "drill", "--acts", acts, *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
