"""Importing what is installed warns of nothing and loads nothing that is not needed yet."""

from __future__ import annotations

import subprocess


def python(installed, program, folder):
    done = subprocess.run(
        [str(installed), "-W", "error", "-c", program],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout.strip()


def test_both_packages_are_imported_from_the_wheel_without_a_warning(installed, tmp_path):
    program = "import flask_msm, flask_msm_dashboard as d; print(flask_msm.__file__, d.__file__)"

    for path in python(installed, program, tmp_path).split():
        assert path.startswith(str(installed.parents[1]))


def test_the_extension_alone_loads_no_dashboard_no_scheduler_and_no_tests(installed, tmp_path):
    heavy = [
        "flask_msm_dashboard",
        "flask_msm.testing",
        "flask_admin",
        "wtforms",
        "apscheduler",
        "asyncio",
        "pytest",
        "prometheus_client",
    ]
    program = f"import sys, flask_msm; print(sorted(set(sys.modules) & set({heavy!r})))"

    assert python(installed, program, tmp_path) == "[]"


def test_without_probes_no_scheduler_is_loaded_and_with_them_before_the_first_request(
    installed, tmp_path
):
    program = """
import sys
from flask import Flask
from flask_msm import MemcachedSessionManager
for interval in (0, 2):
    app = Flask("shop")
    app.config.update(MSM_NODES="127.0.0.1 127.0.0.2", MSM_PROBE_INTERVAL=interval, MSM_ADMIN=False)
    MemcachedSessionManager(app)
    print("apscheduler" in sys.modules)
"""

    assert python(installed, program, tmp_path).split() == ["False", "True"]
