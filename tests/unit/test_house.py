"""What the guide for contributors and continuous integration name is there."""

from __future__ import annotations

import re
import subprocess
import tomllib
from graphlib import TopologicalSorter
from pathlib import Path

import grimp
import pytest
from mutations.mutations import MUTATIONS


ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
WORKFLOW = ROOT / ".github" / "workflows" / "ci.yml"
TARGETS = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
PLACES = [ROOT, ROOT / "flask_msm", ROOT / "dashboard", ROOT / "docs"]


def steps():
    # An sdist has no workflow.
    return WORKFLOW.read_text(encoding="utf-8") if WORKFLOW.exists() else ""


def test_every_target_named_is_there():
    named = set(re.findall(r"`make ([a-z-]+)", GUIDE)) | set(
        re.findall(r"run: make ([a-z-]+)", steps())
    )

    assert {"test", "test-all"} <= named
    assert named <= TARGETS


def test_every_part_of_a_target_that_is_named_is_there():
    benchmarks = {path.stem for path in (ROOT / "benchmarks").glob("*.py")}

    named = set(re.findall(r"PART=([a-z]+)", GUIDE + steps() + MAKEFILE)) - {"all"}

    assert {"oldest", "fuzz", "fleet"} <= named
    assert named <= set(re.findall(r"^\.([a-z]+):", MAKEFILE, re.MULTILINE)) | benchmarks


def test_make_alone_lists_at_most_ten_targets():
    command = ["make", "--no-print-directory"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)

    listed = re.findall(r"^  make ([a-z-]+) +\S", done.stdout, re.MULTILINE)

    assert len(listed) == len(done.stdout.splitlines()) <= 10
    assert set(listed) <= TARGETS


@pytest.mark.parametrize(
    "path", sorted(set(re.findall(r"`([\w/.]+(?:/|\.py|\.md|\.toml))`", GUIDE)))
)
def test_every_file_and_folder_named_is_there(path):
    assert any((place / path).exists() for place in PLACES), path


def floors():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return contracts["tool"]["importlinter"]["contracts"][0]["layers"]


def test_the_picture_of_the_house_is_the_contract_on_imports():
    names = {path.stem: path.name for path in (ROOT / "flask_msm").glob("*.py")}
    names |= {
        path.parent.name: f"{path.parent.name}/" for path in (ROOT / "flask_msm").glob("*/*.py")
    }
    drawn = {}
    for number, floor in re.findall(r"^(\d)  (\S+(?: \| \S+)*)", GUIDE, re.MULTILINE):
        drawn[int(number)] = sorted(floor.split(" | "))

    built = [sorted(names[name] for name in re.split(r" [|:] ", floor)) for floor in floors()]

    assert drawn == dict(enumerate(reversed(built)))


def test_no_old_name_is_used_any_more():
    listed = ROOT / "scripts" / "old_names.txt"
    old = re.compile(
        r"(?<![\w.])(?:" + "|".join(map(re.escape, listed.read_text().split())) + r")(?!\w)"
    )
    places = (
        "flask_msm",
        "dashboard",
        "tests",
        "drill",
        "harness",
        "benchmarks",
        "example_app",
        "docs",
    )
    files = [file for place in places for file in (ROOT / place).rglob("*.py")]
    files += [*(ROOT / "docs").glob("*.md"), *ROOT.glob("*.md")]

    found = {
        str(file.relative_to(ROOT)): sorted(set(old.findall(file.read_text(encoding="utf-8"))))
        for file in files
    }

    assert {file: names for file, names in found.items() if names} == {}


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.meaning)
def test_the_text_that_a_mutation_replaces_stands_once_in_its_file(mutation):
    text = (ROOT / "flask_msm" / mutation.path).read_text(encoding="utf-8")

    assert text.count(mutation.before) == 1
    assert all((ROOT / "tests" / "unit" / name).exists() for name in mutation.tests.split())


def test_no_files_import_one_another_but_a_session_and_what_stands_behind_it():
    graph = grimp.build_graph("flask_msm", "flask_msm_dashboard", cache_dir=None)
    imports = {name: set(graph.find_modules_directly_imported_by(name)) for name in graph.modules}

    imports["flask_msm.sessions.session"].remove("flask_msm.sessions.unit_of_work")

    TopologicalSorter(imports).prepare()  # names a circle if there is one
