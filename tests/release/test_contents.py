"""The wheel and the sdist hold what they shall, and nothing else."""

from __future__ import annotations

import email
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest


ROOT = Path(__file__).parents[2]
PACKAGES = {"flask_msm": ROOT, "flask_msm_dashboard": ROOT / "dashboard"}


def tree(base, folder):
    """Return the files in *folder* that are not generated, relative to *base*."""
    return {
        str(path.relative_to(base))
        for path in (base / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


@pytest.fixture(scope="module")
def in_wheel(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.fixture(scope="module")
def in_sdist(sdist):
    with tarfile.open(sdist) as archive:
        return {name.partition("/")[2] for name in archive.getnames()}


def test_the_wheel_holds_both_packages_and_nothing_else(in_wheel):
    about = {name for name in in_wheel if ".dist-info/" in name}
    written = set().union(*(tree(base, package) for package, base in PACKAGES.items()))

    assert in_wheel - about == written
    assert {name.partition(".dist-info/")[2] for name in about} == {
        "METADATA",
        "WHEEL",
        "RECORD",
        "licenses/LICENSE",
    }


@pytest.mark.parametrize(
    "name",
    [
        "flask_msm/py.typed",
        "flask_msm/testing/fixtures.py",
        "flask_msm_dashboard/py.typed",
        "flask_msm_dashboard/static/msm.css",
        "flask_msm_dashboard/static/msm.js",
        "flask_msm_dashboard/static/uPlot.iife.min.js",
        "flask_msm_dashboard/static/uPlot.LICENSE.txt",
        "flask_msm_dashboard/templates/flask_msm/base.html",
        "flask_msm_dashboard/templates/flask_msm/sections/nodes.html",
    ],
)
def test_a_file_that_is_easily_forgotten_is_in_the_wheel(in_wheel, name):
    assert name in in_wheel


def test_the_sdist_holds_what_is_needed_to_build_test_and_read_the_project(in_sdist):
    for name in ("README.md", "LICENSE", "CHANGELOG.md", "CONTRIBUTING.md", "Makefile"):
        assert name in in_sdist
    for folder in (
        "flask_msm",
        "dashboard",
        "tests",
        "docs",
        "scripts",
        "benchmarks",
        "drill",
        "harness",
    ):
        assert tree(ROOT, folder) <= in_sdist
    assert not [name for name in in_sdist if "__pycache__" in name or name.startswith(".venv")]


def test_the_metadata_says_what_the_project_says(wheel, in_wheel):
    (name,) = (name for name in in_wheel if name.endswith("/METADATA"))
    with zipfile.ZipFile(wheel) as archive:
        metadata = email.message_from_bytes(archive.read(name))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    assert metadata["Name"] == project["name"]
    assert metadata["License-Expression"] == project["license"]
    assert metadata["Requires-Python"] == project["requires-python"]
    assert set(metadata.get_all("Classifier")) == set(project["classifiers"])
    assert metadata.get_payload().startswith("# flask_msm")
