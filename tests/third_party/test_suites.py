"""The tests of other projects end over this session as they end over Flask's own."""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest


HERE = Path(__file__).parent
ROOT = HERE.parents[1]
VENV = ROOT / ".venv-third-party"
EXPECTED = tomllib.loads((HERE / "expected.toml").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Suite:
    """Tests of another project.

    Attributes:
        tests: Those that have to do with sessions: arguments of pytest, in its sdist.
        applications: So many applications at least get this session.
    """

    tests: str
    applications: int


SUITES = {
    # Not those of its command line, of configuration, of JSON: they open no session.
    "flask": Suite(
        "tests/test_appctx.py tests/test_async.py tests/test_basic.py tests/test_helpers.py"
        " tests/test_regression.py tests/test_reqctx.py tests/test_session_interface.py"
        " tests/test_signals.py tests/test_subclassing.py tests/test_templating.py"
        " tests/test_testing.py tests/test_user_error_handler.py tests/test_views.py"
        # Fails with the newest Werkzeug.
        " --deselect=tests/test_reqctx.py::test_bad_environ_raises_bad_request",
        130,
    ),
    "flask-login": Suite("tests", 90),
    # Not those of fields: they open no session.
    "flask-wtf": Suite("tests/test_csrf_extension.py tests/test_csrf_form.py", 20),
    # Of its thirty services some: all sign people in by the same two flows.
    "flask-dance": Suite(
        "tests/consumer tests/contrib/test_azure.py tests/contrib/test_dropbox.py"
        " tests/contrib/test_facebook.py tests/contrib/test_github.py"
        " tests/contrib/test_google.py tests/contrib/test_salesforce.py",
        60,
    ),
    # One asks for a text of Authlib that has other quotes by now.
    "flask-oidc": Suite(
        "tests --deselect=tests/test_flask_oidc.py::test_accept_token_no_token", 30
    ),
    "flask-socketio": Suite("test_socketio.py", 1),
}
#: These take minutes: ``make test-all PART=neighbours``.
NEIGHBOURS = {
    # Not the tests of a second factor, of webauthn and of forms: not compared yet.
    "flask-security": Suite(
        "tests/test_async.py tests/test_basic.py tests/test_change_email.py"
        " tests/test_change_username.py tests/test_changeable.py tests/test_configuration.py"
        " tests/test_context_processors.py tests/test_csrf.py tests/test_oauthglue.py"
        " tests/test_passwordless.py tests/test_recovery_codes.py tests/test_response.py"
        " tests/test_templates.py tests/test_tokens.py tests/test_utils.py",
        250,
    ),
    "flask-jwt-extended": Suite("tests", 1),
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
    return folder / archive.name.removesuffix(".tar.gz")


def run(root: Path, tests: Iterable[str], *, everywhere: bool) -> dict:
    """Run *tests*; return their outcomes, and the number of applications."""
    environment = {
        key: value for key, value in os.environ.items() if not key.startswith(("PYTEST", "FLASK"))
    }
    place = root.parent / str(everywhere)
    environment |= {
        "OUTCOMES": f"{place}.json",
        "PYTHONPATH": str(HERE),
        # None of these tests needs one, and each would be imported for every suite.
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    }
    if everywhere:
        environment["EVERYWHERE"] = "1"
    command = [VENV / "bin" / "python", "-m", "pytest"]
    done = subprocess.run(
        # Assertions that are not rewritten show less and end alike: quicker.
        [*command, "-q", "-p", "everywhere", "--assert=plain", "--basetemp", place, *tests],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    # 1: some failed, as some may.
    assert done.returncode in {0, 1}, done.stdout[-5000:] + done.stderr[-2000:]
    found = json.loads(Path(environment["OUTCOMES"]).read_text(encoding="utf-8"))
    return {**found, "output": done.stdout}


@pytest.mark.parametrize("name", SUITES)
def test_the_suite_of_another_project_ends_as_over_flasks_own_session(name, tmp_path):
    look_for("requirements")
    compare(name, SUITES[name], tmp_path)


@pytest.mark.skipif(not os.environ.get("NEIGHBOURS"), reason="make test-all runs these")
@pytest.mark.parametrize("name", NEIGHBOURS)
def test_the_suite_of_a_neighbour_ends_as_over_flasks_own_session(name, tmp_path):
    look_for("requirements-neighbours")
    compare(name, NEIGHBOURS[name], tmp_path)


def compare(name, suite, folder):
    """Run a suite over this session, and what fails over Flask's own as well.

    What fails there, too, says nothing of this session: it fails with the versions that are here of
    what it needs. Whole files are run again, since a test may need those before it.
    """
    root = unpacked(name, folder)
    over_this = run(root, suite.tests.split(), everywhere=True)
    failed = {test: how for test, how in over_this["outcomes"].items() if how == "failed"}
    expected = {test: entry["ends"] for test, entry in EXPECTED.get(name, {}).items()}
    again = sorted({test.partition("::")[0] for test in failed.keys() - expected.keys()})
    without = run(root, again, everywhere=False)["outcomes"] if again else {}
    differences = {test: how for test, how in failed.items() if without.get(test) != how}

    assert differences == expected, over_this["output"][-20_000:]
    assert over_this["applications"] >= suite.applications
    assert "passed" in over_this["outcomes"].values()


def test_every_expected_difference_has_a_reason_and_a_suite():
    assert EXPECTED.keys() <= SUITES.keys() | NEIGHBOURS.keys()
    for entries in EXPECTED.values():
        for entry in entries.values():
            assert entry.keys() == {"ends", "reason"}
            assert len(entry["reason"]) > 20
