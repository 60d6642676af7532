"""The contracts on imports hold, and each of them is able to fail."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


ROOT = Path(__file__).parents[2]


def lint(folder):
    return subprocess.run(
        [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": f"{folder}:{folder / 'dashboard'}"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def copy(tmp_path):
    for name in ("flask_msm", "dashboard"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


#: A line that breaks a contract, the file it stands in, and what the contract is called.
BROKEN = [
    ("flask_msm/record/record.py", "import flask_msm.cluster.trust", "Seven floors"),
    ("flask_msm/cluster/nodes.py", "import flask_msm.settings.types", "Seven floors"),
    ("flask_msm/extension.py", "import flask_msm.testing", "Seven floors"),
    ("flask_msm/a_new_file.py", "import os", "Seven floors"),
    ("flask_msm/sessions/unit_of_work.py", "import flask", "Flask, Werkzeug and click"),
    ("flask_msm/record/record.py", "import socket", "Pure parts do no I/O"),
    ("flask_msm/memcached/client.py", "import pymemcache", "One door to pymemcache"),
    ("flask_msm/sessions/unit_of_work.py", "import cachelib", "One door to cachelib"),
    ("flask_msm/maintenance/runtime.py", "import apscheduler", "One door to APScheduler"),
    ("flask_msm/record/envelope.py", "import ormsgpack", "One door to ormsgpack"),
    ("flask_msm/record/envelope.py", "import cryptography", "One door to cryptography"),
    ("flask_msm/interface.py", "import itsdangerous", "One door to itsdangerous"),
    ("flask_msm/extension.py", "import flask_admin", "One door to Flask-Admin"),
    (
        "dashboard/flask_msm_dashboard/api.py",
        "import prometheus_client",
        "One door to prometheus-client",
    ),
    (
        "dashboard/flask_msm_dashboard/__init__.py",
        "import flask_msm.sessions.repository",
        "The dashboard sees the console only",
    ),
]


def test_imports_that_break_the_contracts_are_found(copy):
    for file, line, _ in BROKEN:
        path = copy / file
        before = path.read_text() if path.exists() else ""
        path.write_text(f"{before}\n{line}\n")

    result = lint(copy)

    assert result.returncode != 0
    broken = [row for row in result.stdout.splitlines() if "BROKEN" in row]
    for file, line, contract in BROKEN:
        assert any(contract in row for row in broken), (contract, broken)
        name = line.removeprefix("import ")
        importer = file.removesuffix(".py").removesuffix("/__init__").removeprefix("dashboard/")
        seen = f"{importer.replace('/', '.')} -> {name}"
        assert seen in result.stdout or "a_new_file" in file, seen
    assert "a_new_file" in result.stdout
