"""A plugin of pytest: notes how each test ends, and puts this session under every application.

It runs in suites that were not written here: ``pytest -p everywhere``. Variables of the environment
say what it does. ``OUTCOMES`` is the file for the outcomes. With ``EVERYWHERE`` applications have
this session instead of Flask's own, over nodes in memory.
"""

from __future__ import annotations

import json
import os
from contextlib import ExitStack
from pathlib import Path

from flask import Flask
from flask.sessions import SecureCookieSessionInterface

from flask_msm import MemcachedSessionManager
from flask_msm.testing import Nodes


#: A test that failed once stays failed, also when its clean-up passes.
ORDER = ("passed", "skipped", "failed")


class Everywhere(SecureCookieSessionInterface):
    """Sets an application up when it opens its first session.

    Not before: an application may have a session interface of its own by then, which stays.
    """

    def __init__(self, config):
        self.config = config
        self.applications = 0

    def open_session(self, app, request):
        if not app.secret_key:
            return None
        # A test may hold on to what was the interface before.
        if app.session_interface is self:
            self.set_up(app)
        return app.session_interface.open_session(app, request)

    def set_up(self, app):
        for key, value in self.config.items():
            app.config.setdefault(key, value)
        # It may have answered requests while it had no secret.
        started, app._got_first_request = app._got_first_request, False
        MemcachedSessionManager(app)
        app._got_first_request = started
        self.applications += 1


class Plugin:
    """Notes the outcomes of one run."""

    def __init__(self):
        self.outcomes = {}
        self.interface = None
        self.closing = ExitStack()
        if os.environ.get("EVERYWHERE"):
            nodes = self.closing.enter_context(Nodes())
            config = {**nodes.config(), "MSM_ADMIN": False, "MSM_PROBE_INTERVAL": 0}
            self.interface = Flask.session_interface = Everywhere(config)

    def pytest_runtest_logreport(self, report):
        before = self.outcomes.get(report.nodeid, "passed")
        self.outcomes[report.nodeid] = max(before, report.outcome, key=ORDER.index)

    def pytest_unconfigure(self):
        applications = self.interface.applications if self.interface else 0
        found = {"outcomes": self.outcomes, "applications": applications}
        Path(os.environ["OUTCOMES"]).write_text(json.dumps(found), encoding="utf-8")
        self.closing.close()


def pytest_configure(config):
    config.pluginmanager.register(Plugin(), "flask_msm-everywhere")
