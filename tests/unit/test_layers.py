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


@pytest.mark.parametrize(
    ("file", "line", "contract"),
    [
        (
            "flask_msm/record/hybrid_clock.py",
            "import flask_msm.storage.replicated",
            "Arrows point down only",
        ),
        ("flask_msm/cluster/nodes.py", "import flask_msm.memcached.pool", "Arrows point down only"),
        ("flask_msm/extension.py", "import flask_msm.testing", "Arrows point down only"),
        ("flask_msm/sessions/unit_of_work.py", "import flask", "Only the edge knows Flask"),
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
    ],
)
def test_an_import_that_breaks_a_contract_is_found(copy, file, line, contract):
    path = copy / file
    path.write_text(path.read_text() + f"\n{line}\n")

    result = lint(copy)

    assert result.returncode != 0
    assert f"{contract}" in result.stdout
    assert any(contract in row and "BROKEN" in row for row in result.stdout.splitlines())
