"""A real Chromium, and the dashboard on a port of this machine for it to look at."""

from __future__ import annotations

import os
import shutil
import threading
from contextlib import contextmanager

from support.dashboard import make_app
from support.fake_console import FakeConsole
from werkzeug.serving import WSGIRequestHandler, make_server


HOW_TO_INSTALL = "Chromium is not installed: apt-get install chromium, or set CHROMIUM to its path"


def chromium():
    """Return the path of Chromium, ``None`` if it is not installed.

    The one without windows, where that is installed, takes half the processor.
    """
    names = ("chromium-headless-shell", "chromium", "google-chrome")
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)


@contextmanager
def launched(playwright):
    """Run Chromium."""
    browser = playwright.chromium.launch(
        executable_path=chromium(),
        # Tests run in containers and as root, where its own sandbox cannot.
        args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
    )
    try:
        yield browser
    finally:
        browser.close()


class SilentRequestHandler(WSGIRequestHandler):
    """Logs nothing: pages ask ten times a second."""

    def log_request(self, *_):
        pass


class Served:
    """The dashboard over a fake console, on a port of this machine."""

    def __init__(self, snapshot=None, *, moving=False, **options):
        self.console = FakeConsole(snapshot, moving=moving)
        self.requests = []
        self.fails = False
        app, _ = make_app(self.console, **options)
        inner = app.wsgi_app

        def watched(environ, start_response):
            self.requests.append(
                (environ["REQUEST_METHOD"], environ["PATH_INFO"], environ["QUERY_STRING"])
            )
            if self.fails:
                start_response("500 Internal Server Error", [("Content-Type", "text/plain")])
                return [b"broken"]
            return inner(environ, start_response)

        app.wsgi_app = watched
        self.app = app
        self._server = make_server(
            "localhost", 0, app, threaded=True, request_handler=SilentRequestHandler
        )
        # It looks so often (seconds) whether it is to end: half a second is the default.
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), daemon=True
        )

    @property
    def url(self):
        return f"http://localhost:{self._server.server_port}/msm-admin/"

    def polls(self):
        """Return how often a page asked for news."""
        return sum("live=" in query for _, _, query in self.requests)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
