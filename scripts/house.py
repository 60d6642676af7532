"""Prints how large the house is and how it is built: ``python scripts/house.py``.

Counts files, lines, rows of the contract on imports, protocols and indefinite persons; and how many
functions of the package a read, a write, a tick and a change of the policy call, of how many files.
What a request costs with the libraries is counted by ``tests/integration/test_calls.py``.
"""

from __future__ import annotations

import ast
import re
import tomllib
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from flask import Flask, session

from flask_msm import MemcachedSessionManager
from flask_msm.testing import Nodes
from scripts.calls import files_called


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


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
    for what, (calls, called) in counted().items():
        print(f"{f'calls of {what}, three nodes':<{width}}  {calls:>6,}  in {called} files")


def counted() -> dict[str, tuple[int, int]]:
    """Return how many functions of the package each of these calls, and of how many files."""
    with Nodes(3) as nodes:
        app = Flask("house")
        app.config.update(SECRET_KEY="house " * 8, **nodes.config(MSM_ADMIN=False))
        manager = MemcachedSessionManager(app)
        cluster = manager.state(app).parts.cluster
        if cluster is None:
            raise SystemExit("there is no cluster, though there are nodes")

        @app.get("/read")
        def read() -> str:
            return str(session.get("number"))

        @app.get("/write")
        def write() -> str:
            session["number"] = session.get("number", 0) + 1
            return ""

        client = app.test_client()
        client.get("/write")
        console, tick = manager.state(app).console, cluster.monitor.tick
        policy = partial(console.set_policy, actor="house", reason="", based_on=None)
        found = {
            "a read": min(calls_of(partial(client.get, "/read")) for _ in range(8)),
            "a write": min(calls_of(partial(client.get, "/write")) for _ in range(8)),
            "a tick": min(calls_of(tick) for _ in range(3)),
            "a change of the policy": calls_of(partial(policy, "local")),
        }
        manager.close(app)
    return found


def calls_of(act: Callable[[], object]) -> tuple[int, int]:
    """Return how many functions of the package *act* calls here, and of how many files."""
    files = [file for file in files_called(act) if file.startswith(str(PACKAGE))]
    return len(files), len(set(files))


def protocols(tree: ast.Module) -> Iterator[str]:
    """Yield the names of the protocols that a file defines."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and any("Protocol" in ast.dump(b) for b in node.bases):
            yield node.name


if __name__ == "__main__":
    main()
