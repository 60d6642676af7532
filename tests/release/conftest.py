"""What is published, built once: an sdist, a wheel made of it, and where it is installed."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest


ROOT = Path(__file__).parents[2]


def call(*command, cwd):
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """Return the folder with the sdist, and the wheel that was made of the sdist."""
    folder = tmp_path_factory.mktemp("dist")
    # With what is installed already, so that no network is needed.
    call(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT, cwd=folder)
    return folder


@pytest.fixture(scope="session")
def wheel(built):
    (found,) = built.glob("*.whl")
    return found


@pytest.fixture(scope="session")
def sdist(built):
    (found,) = built.glob("*.tar.gz")
    return found


@pytest.fixture(scope="session")
def installed(wheel, tmp_path_factory):
    """Return a Python that has the wheel, and beside it what is installed for these tests."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    options = ["install", "--quiet", "--no-deps", "--no-index", wheel]
    call(sys.executable, "-m", "pip", "--python", python, *options, cwd=folder)
    (site,) = folder.glob("lib/python*/site-packages")
    # A line of a .pth file is not read in turn, so that the editable project stays out.
    (site / "tests.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    return python
