"""Code, comments, messages and pages name who acts: they have no indefinite persons."""

from __future__ import annotations

import re
from pathlib import Path


ROOT = Path(__file__).parents[2]
PERSONS = re.compile(r"\b(?:nobody|somebody|whoever|anybody|whatever)\b", re.IGNORECASE)
#: Still to be mended.
NOT_YET = [
    *("benchmarks", "dashboard", "docs", "drill", "example_app", "tests"),
    *("CHANGELOG.md", "README.md"),
    *(
        f"flask_msm/operations/{name}.py"
        for name in ("audit", "cli", "cli_fleet", "cluster_operations", "commander", "console")
    ),
    "flask_msm/operations/orders.py",
]


def test_texts_name_no_indefinite_persons():
    files = [*ROOT.glob("*.md"), *(ROOT / "flask_msm").rglob("*.py")]
    for folder in ("benchmarks", "dashboard", "docs", "drill", "example_app", "scripts", "tests"):
        files += [
            path for kind in ("py", "md", "html") for path in (ROOT / folder).rglob(f"*.{kind}")
        ]
    mended = [f for f in files if not any(f.is_relative_to(ROOT / name) for name in NOT_YET)]

    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in mended
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if PERSONS.search(line)
    ]

    assert len(mended) > 100
    assert found == []
