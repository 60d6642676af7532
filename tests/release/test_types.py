"""Type checkers see the types of an installed wheel: they find mistakes, and nothing else."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


PROGRAM = Path(__file__).with_name("typed_shop.py")
#: Each line has one mistake, in what the line uses of the package.
MISTAKES = '''"""A program that is wrong."""
import flask_msm
from flask_msm import MemcachedSessionManager, read_only, regenerate
from flask_msm.testing import Nodes, assert_serializable, holders
from flask_msm_dashboard import basic_auth

regenerate(1)
holders("a client")
assert_serializable([1])
Nodes("three")
MemcachedSessionManager(policy=lambda: None)
MemcachedSessionManager().check(timeout="long")
read_only("a view")
basic_auth("ops")
flask_msm.no_such_name()
'''
WRONG = {number for number, line in enumerate(MISTAKES.splitlines(), 1) if number > 6 and line}


def mypy(python, programs):
    options = ["--strict", "--no-incremental", "--python-executable", python]
    return run(sys.executable, "-m", "mypy", *options, *programs)


def pyright(python, programs):
    folder = programs[0].parent
    settings = {"typeCheckingMode": "strict", "include": [path.name for path in programs]}
    (folder / "pyrightconfig.json").write_text(json.dumps(settings), encoding="utf-8")
    # The same checker, in a package that brings the Node it runs on.
    tool = [sys.executable, "-m", "basedpyright", "--pythonpath", python]
    return run(*tool, "--project", folder / "pyrightconfig.json")


def run(*command):
    done = subprocess.run(
        [str(part) for part in command],
        cwd=command[-1].parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr


@pytest.mark.parametrize("checker", [mypy, pyright])
def test_a_checker_finds_every_mistake_and_nothing_in_a_program_without(
    installed, tmp_path, checker
):
    right, wrong = tmp_path / "shop.py", tmp_path / "wrong.py"
    shutil.copy(PROGRAM, right)
    wrong.write_text(MISTAKES, encoding="utf-8")

    found = checker(installed, [right, wrong])

    assert {int(line) for line in re.findall(r"wrong\.py:(\d+):.*error", found)} == WRONG, found
    assert "shop.py:" not in found, found


def test_the_program_uses_every_public_name():
    import flask_msm
    from flask_msm import testing

    text = PROGRAM.read_text(encoding="utf-8")
    signals = {name for name in flask_msm.__all__ if name.islower() and "_" in name}
    signals -= {"read_only"}
    missing = {
        name
        for name in {*flask_msm.__all__, *testing.__all__} - signals
        if not re.search(rf"\b{name}\b", text)
    }

    assert not missing
