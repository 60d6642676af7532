"""The tests of other projects end over this session as they end over Flask's own."""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest


HERE = Path(__file__).parent
ROOT = HERE.parents[1]
VENV = ROOT / ".venv-third-party"
EXPECTED = tomllib.loads((HERE / "expected.toml").read_text(encoding="utf-8"))

#: Where the tests of each are in its sdist, and how many applications at least get this session.
SUITES = {
    "flask": ("tests", 200),
    "flask-login": ("tests", 90),
    "flask-wtf": ("tests", 60),
    "flask-dance": ("tests", 100),
    "flask-oidc": ("tests", 30),
    "flask-socketio": ("test_socketio.py", 1),
}
#: These take minutes: ``make test-neighbours``.
NEIGHBOURS = {
    # Not the tests of a second factor, of webauthn and of forms: not compared yet.
    "flask-security": (
        (
            "tests/test_async.py tests/test_basic.py tests/test_change_email.py"
            " tests/test_change_username.py tests/test_changeable.py tests/test_configuration.py"
            " tests/test_context_processors.py tests/test_csrf.py tests/test_oauthglue.py"
            " tests/test_passwordless.py tests/test_recovery_codes.py tests/test_response.py"
            " tests/test_templates.py tests/test_tokens.py tests/test_utils.py"
        ),
        250,
    ),
    "flask-jwt-extended": ("tests", 1),
}
#: Time in seconds after which a suite has failed.
PATIENCE = 3600.0


def look_for(requirements):
    """Skip, or fail where that would be overlooked, when suites could not be fetched."""
    if not (VENV / f".state-{requirements}").exists():
        reason = "suites of other projects are not here: scripts/venv-third-party.sh fetches them"
        if os.environ.get("CI"):
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)


def unpacked(name: str, folder: Path) -> Path:
    """Return the folder of the sdist of *name*, unpacked in *folder*."""
    wanted = name.replace("-", "_")
    (archive,) = (
        path
        for path in (VENV / "sdists").glob("*.tar.gz")
        if path.name.lower().replace("-", "_").rpartition("_")[0] == wanted
    )
    with tarfile.open(archive) as sdist:
        sdist.extractall(folder, filter="data")
    (root,) = folder.iterdir()
    return root


def run(name: str, tests: str, folder: Path, *, everywhere: bool) -> dict:
    """Run the *tests* of *name*; return their outcomes, and the number of applications."""
    root = unpacked(name, folder / "sdist")
    environment = {
        key: value for key, value in os.environ.items() if not key.startswith(("PYTEST", "FLASK"))
    }
    environment["PYTHONPATH"] = str(HERE)
    environment["OUTCOMES"] = str(folder / "outcomes.json")
    if everywhere:
        environment["EVERYWHERE"] = "1"
    command = [VENV / "bin" / "python", "-m", "pytest", "-q", "-p", "everywhere", *tests.split()]
    done = subprocess.run(
        [*command, "--basetemp", folder / "tmp"],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    # 1: some failed, as some may.
    assert done.returncode in {0, 1}, done.stdout[-5000:] + done.stderr[-2000:]
    found = json.loads((folder / "outcomes.json").read_text(encoding="utf-8"))
    return {**found, "output": done.stdout}


@pytest.mark.parametrize("name", SUITES)
def test_the_suite_of_another_project_ends_as_over_flasks_own_session(name, tmp_path):
    look_for("requirements")
    compare(name, *SUITES[name], tmp_path)


@pytest.mark.skipif(not os.environ.get("NEIGHBOURS"), reason="make test-neighbours runs these")
@pytest.mark.parametrize("name", NEIGHBOURS)
def test_the_suite_of_a_neighbour_ends_as_over_flasks_own_session(name, tmp_path):
    look_for("requirements-neighbours")
    compare(name, *NEIGHBOURS[name], tmp_path)


def compare(name, tests, applications, folder):
    """Run a suite twice, and compare how each of its tests ends."""
    folders = {everywhere: folder / str(everywhere) for everywhere in (False, True)}
    for each in folders.values():
        each.mkdir()
    with ThreadPoolExecutor() as pool:
        runs = [
            pool.submit(run, name, tests, place, everywhere=everywhere)
            for everywhere, place in folders.items()
        ]
        without, over_this = (each.result() for each in runs)
    differences = {
        test: over_this["outcomes"].get(test)
        for test in without["outcomes"].keys() | over_this["outcomes"].keys()
        if without["outcomes"].get(test) != over_this["outcomes"].get(test)
    }
    expected = {test: entry["ends"] for test, entry in EXPECTED.get(name, {}).items()}

    assert differences == expected, over_this["output"][-20_000:]
    assert over_this["applications"] >= applications
    assert "passed" in without["outcomes"].values()


def test_every_expected_difference_has_a_reason_and_a_suite():
    assert EXPECTED.keys() <= SUITES.keys() | NEIGHBOURS.keys()
    for entries in EXPECTED.values():
        for entry in entries.values():
            assert entry.keys() == {"ends", "reason"}
            assert len(entry["reason"]) > 20
