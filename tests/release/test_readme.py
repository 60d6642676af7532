"""The README as strangers meet it: on the package index, and with nothing but what is installed."""

from __future__ import annotations

import email
import re
import subprocess
import sys
import tomllib
import zipfile

import pytest

from flask_msm.testing.memcached import wait_until
from flask_msm.version import VERSION
from harness.client import Client
from harness.processes import ROOT, bound, end, port_of, start
from scripts.readme import absolute


README = (ROOT / "README.md").read_text(encoding="utf-8")
PORTS = ("11311", "11312", "11313")


@pytest.fixture(scope="module")
def published(wheel):
    """Return the README as it is in the wheel."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("/METADATA"))
        return email.message_from_bytes(archive.read(name)).get_payload(decode=True).decode()


def test_the_package_index_can_show_what_is_published(wheel, sdist):
    command = [sys.executable, "-m", "twine", "check", "--strict", str(wheel), str(sdist)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("PASSED") == 2


def test_links_of_what_is_published_lead_to_files_of_this_version_in_the_repository(published):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    place = re.escape(project["urls"]["Repository"])

    links = re.findall(r"\]\(([^)\s]+)\)", published)

    assert links
    assert all(re.match("https?:|#", link) for link in links)
    inside = re.findall(rf"\]\({place}/(blob|raw)/v{re.escape(VERSION)}/([^)#\s]+)", published)
    assert len(inside) > 10
    assert [path for _, path in inside if not (ROOT / path).exists()] == []
    assert {path for kind, path in inside if kind == "raw"} == set(
        re.findall(r"!\[[^\]]*\]\(([^)]+)\)", README)
    )


def test_only_relative_links_are_made_absolute():
    text = "[a](https://example.org/x) [b](#here) <http://127.0.0.1/> [c](x.md#y) ![d](e.png)"

    assert absolute(text, "https://r", "v1") == (
        "[a](https://example.org/x) [b](#here) <http://127.0.0.1/> "
        "[c](https://r/blob/v1/x.md#y) ![d](https://r/raw/v1/e.png)"
    )


def test_the_example_runs_from_what_is_installed_and_counts_on_without_nodes(
    installed, memcached, tmp_path
):
    program = re.search(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)[1]
    nodes = [memcached() for _ in PORTS]
    for port, node in zip(PORTS, nodes, strict=True):
        assert port in program
        program = program.replace(port, str(node.port))
    (tmp_path / "app.py").write_text(program, encoding="utf-8")
    listener = bound()
    port = port_of(listener)
    listener.close()
    log = tmp_path / "log.txt"

    site = start(
        [str(installed), "-m", "flask", "run", "--port", str(port)], log=log, folder=tmp_path
    )
    try:
        wait_until(lambda: "Running on" in log.read_text() or site.poll() is not None, "it runs")
        browser = Client()
        assert [browser.send(port, "/").text for _ in range(2)] == ["1 visits\n", "2 visits\n"]
        assert browser.send(port, "/msm-admin/").status == 200
        for node in nodes:
            node.kill()
        assert browser.send(port, "/").text == "3 visits\n"
    finally:
        end(site)
