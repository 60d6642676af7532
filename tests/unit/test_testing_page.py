"""The examples of docs/testing.md pass as they stand, and fail when the shop is broken."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path


ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "testing.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"```python\n# (\w+\.py)\n(.*?)```", PAGE, re.DOTALL))


def run(folder, shop):
    """Run the examples with *shop* as their application."""
    for name, text in FILES.items():
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "shop.py").write_text(shop, encoding="utf-8")
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "pytest", "-q", "-p", "no:cacheprovider", "."],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": f"{ROOT}:{ROOT / 'dashboard'}",
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        },
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_example_has_a_file_and_passes(tmp_path):
    result = run(tmp_path, FILES["shop.py"])

    assert PAGE.count("```python") == len(FILES)
    assert result.returncode == 0, result.stdout + result.stderr
    assert re.search(r"^8 passed", result.stdout, re.MULTILINE), result.stdout


def test_the_examples_find_a_shop_that_keeps_its_cart_in_the_process(tmp_path):
    shop = FILES["shop.py"].replace('session.setdefault("cart", [])', "CART")
    shop = shop.replace('session.get("cart", [])', "CART").replace(
        "def create", "CART = []\n\n\ndef create"
    )
    shop = shop.replace('session["user"] = name', "app.user = name")

    result = run(tmp_path, shop)

    failed = set(re.findall(r"FAILED .*::(\w+)", result.stdout))
    assert failed == {
        "test_the_cart_survives_a_node",
        "test_the_cart_survives_an_outage_of_all_nodes",
        "test_who_signs_in_is_signed_in_everywhere",
    }
