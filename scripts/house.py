"""Prints how large the house is and how it is built: ``python scripts/house.py``.

Counts files, lines, rows of the contract on imports, protocols and indefinite persons. What a
request costs is counted by ``tests/integration/test_calls.py``.
"""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from collections.abc import Iterator


ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "flask_msm"
PERSONS = re.compile(r"\b(?:(?:no|some|any)body|wh(?:o|at)ever)\b", re.IGNORECASE)


def main() -> None:
    """Print the table."""
    files = sorted(PACKAGE.rglob("*.py"))
    trees = {file: ast.parse(file.read_text(encoding="utf-8")) for file in files}
    lengths = {file: len(file.read_text(encoding="utf-8").splitlines()) for file in files}
    longest = max(files, key=lengths.__getitem__)
    packages = [folder for folder in PACKAGE.iterdir() if (folder / "__init__.py").exists()]
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    floors = contracts["tool"]["importlinter"]["contracts"][0]["layers"]
    tests = list((ROOT / "tests").rglob("*.py"))
    rows = {
        "files at the package's root": len(list(PACKAGE.glob("*.py"))),
        "packages": len(packages),
        "rows of the contract on imports": len(floors),
        "files of flask_msm": len(files),
        "lines of flask_msm": sum(lengths.values()),
        f"lines of the longest file ({longest.relative_to(PACKAGE)})": lengths[longest],
        "lines of the composition root": lengths[PACKAGE / "application.py"],
        "protocols": sum(1 for tree in trees.values() for _ in protocols(tree)),
        "files called nodes.py": len(list(PACKAGE.rglob("nodes.py"))),
        "indefinite persons": sum(
            len(PERSONS.findall(file.read_text(encoding="utf-8"))) for file in files
        ),
        "lines of tests": sum(len(file.read_text(encoding="utf-8").splitlines()) for file in tests),
    }
    width = max(map(len, rows))
    for what, count in rows.items():
        print(f"{what:<{width}}  {count:>6,}")


def protocols(tree: ast.Module) -> Iterator[str]:
    """Yield the names of the protocols that a file defines."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and any("Protocol" in ast.dump(b) for b in node.bases):
            yield node.name


if __name__ == "__main__":
    main()
