"""The samples in contrib can be parsed, and each setting in them is taken."""

from __future__ import annotations

import re
import runpy
import shutil
import subprocess

import pytest
import yaml

from flask_msm.settings.settings import Settings
from harness.processes import ROOT


CONTRIB = ROOT / "contrib"
YAML = sorted(path.relative_to(CONTRIB) for path in CONTRIB.rglob("*.yaml"))


def documents(name):
    return [d for d in yaml.safe_load_all((CONTRIB / name).read_text()) if d is not None]


def environments(name):
    """Return the environment variables of each service or map of configuration in *name*."""
    found = []
    for document in documents(name):
        if document.get("kind") == "ConfigMap":
            found.append(document["data"])
        services = document.get("services", {}).values()
        found += [service["environment"] for service in services if "environment" in service]
    return found


@pytest.mark.parametrize("name", YAML, ids=str)
def test_each_setting_of_a_sample_is_taken(name, monkeypatch, tmp_path):
    for environment in environments(name):
        for variable, value in environment.items():
            monkeypatch.setenv(variable, value)
        monkeypatch.setenv("FLASK_MSM_LOCAL_DIR", str(tmp_path))
        monkeypatch.setenv("FLASK_SECRET_KEY", "a secret of the test")
        app = runpy.run_path(str(CONTRIB / "compose" / "shop.py"))["app"]
        asked = {key for key in environment if key.startswith("FLASK_MSM_")}
        taken = Settings.from_mapping(app.config, app_name=app.name, testing=False)

        assert len(taken.nodes) == 3
        assert asked <= {f"FLASK_{key}" for key in app.config}


def test_pods_of_memcached_are_replaced_by_hand_and_three_of_them_are_the_nodes():
    found = {document["kind"]: document for document in documents("kubernetes/memcached.yaml")}
    (settings,) = environments("kubernetes/web.yaml")
    stateful = found["StatefulSet"]["spec"]

    assert stateful["updateStrategy"] == {"type": "OnDelete"}
    assert found["Service"]["spec"]["clusterIP"] == "None"
    name = found["StatefulSet"]["metadata"]["name"]
    hosts = re.findall(r"([\w-]+)\.mc:11211", settings["FLASK_MSM_NODES"])
    assert hosts == [f"{name}-{number}" for number in range(stateful["replicas"])]


def test_the_script_that_replaces_pods_can_be_parsed():
    bash = shutil.which("bash")
    assert bash is not None
    done = subprocess.run([bash, "-n", CONTRIB / "kubernetes" / "roll.sh"], check=False)
    assert done.returncode == 0


def test_the_balancer_of_compose_differs_from_the_sample_in_its_addresses_only():
    sample = (CONTRIB / "haproxy.cfg").read_text()
    sample = sample.replace("10.0.0.11:", "north:").replace("10.0.0.12:", "south:")

    assert (CONTRIB / "compose" / "haproxy.cfg").read_text() == sample
