"""Code, comments, messages and pages name who acts: they have no indefinite persons."""

from __future__ import annotations

from pathlib import Path

from scripts.house import PERSONS


ROOT = Path(__file__).parents[2]
PLACES = (
    "flask_msm",
    "dashboard",
    "docs",
    "tests",
    "drill",
    "benchmarks",
    "harness",
    "example_app",
)


def test_texts_name_no_indefinite_persons():
    files = list(ROOT.glob("*.md"))
    for place in PLACES:
        files += [
            path for kind in ("py", "md", "html") for path in (ROOT / place).rglob(f"*.{kind}")
        ]

    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in files
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if PERSONS.search(line)
    ]

    assert len(files) > 100
    assert found == []
