"""Try whether tests notice small changes of meaning: ``make audit PART=mutate``.

Each change of ``mutations.py`` is made in a copy of the project, and the tests named with it are
run there. A change that they pass is a *survivor*: a test is missing.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from mutations import MUTATIONS, Mutation


ROOT = Path(__file__).parents[2]
PARTS = ("flask_msm", "dashboard", "tests", "example_app", "harness", "pyproject.toml")
#: Time in seconds the tests of one change may take: one that hangs was noticed.
PATIENCE = 180.0


def copy_to(folder: Path) -> None:
    """Copy what unit tests need."""
    for part in PARTS:
        if (ROOT / part).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / part, folder / part, ignore=ignored)
        else:
            shutil.copy(ROOT / part, folder / part)


def not_there(mutations: list[Mutation], folder: Path) -> list[str]:
    """Return a line for each of *mutations* whose text does not stand once in its file."""
    return [
        f"  {mutation.path}: {mutation.before}"
        for mutation in mutations
        if (folder / "flask_msm" / mutation.path).read_text().count(mutation.before) != 1
    ]


def is_noticed(mutation: Mutation, folder: Path) -> bool:
    """Return whether a test fails when *mutation* is made in *folder*; it is taken back."""
    path = folder / "flask_msm" / mutation.path
    text = path.read_text()
    path.write_text(text.replace(mutation.before, mutation.after))
    try:
        return not passes(folder, mutation.tests.split())
    finally:
        path.write_text(text)


def passes(folder: Path, tests: list[str]) -> bool:
    """Return whether *tests* pass in *folder*."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"]
    paths = [str(folder / "tests" / "unit" / name) for name in tests]
    try:
        done = subprocess.run(
            [*command, *paths],
            cwd=folder,
            # Before the project that is installed here.
            env={**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            timeout=PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def main() -> int:
    """Try all changes, or those whose meaning or tests hold a word; return 1 if one survives."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("word", nargs="?", default="", help="only changes that hold this word")
    wanted = parser.parse_args().word
    chosen = [mutation for mutation in MUTATIONS if wanted in mutation.meaning + mutation.tests]
    survivors = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        copy_to(folder)
        if outdated := not_there(chosen, folder):
            sys.exit("these texts do not stand there once any more:\n" + "\n".join(outdated))
        tests = sorted({test for mutation in chosen for test in mutation.tests.split()})
        if not passes(folder, tests):
            sys.exit("the tests fail without any change")
        for mutation in chosen:
            noticed = is_noticed(mutation, folder)
            print(f"{'noticed ' if noticed else 'SURVIVES'}  {mutation.meaning}", flush=True)
            if not noticed:
                survivors.append(mutation)
    print(f"{len(chosen)} changes, {len(survivors)} survivors")
    return bool(survivors)


if __name__ == "__main__":
    sys.exit(main())
