"""What becomes of a session where requests overlap and memcached fails, tried and not timed.

The table of ``docs/limits.md``: every cell is what a real application answered.
"""

from __future__ import annotations

import datetime as dt
import decimal
import pickle
import secrets
import uuid
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from flask import Flask, Response
from flask_session import Session as FlaskSession
from markupsafe import Markup
from pymemcache.client.base import Client
from pymemcache.client.hash import HashClient

from flask_msm.record.keys import storage_key
from flask_msm.record.token import signer_for
from harness.memcached import Memcached
from harness.processes import HOST

from .contenders import COOKIE, OURS, THEIRS, THEIRS_QUIET


if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import ExitStack

    from .contenders import Contender

BROWSERS = 40
#: What an application might keep, by the name of its type.
VALUES: dict[str, Any] = {
    "tuple": (1, 2),
    "set": {1, 2},
    "bytes": b"\x00\xff",
    "UUID": uuid.UUID(int=1),
    "Markup": Markup("<b>"),
    "aware datetime": dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC),
    "with microseconds": dt.datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=dt.UTC),
    "naive datetime": dt.datetime(2026, 1, 2, 3, 4, 5),  # noqa: DTZ001  (people do)
    "date": dt.date(2026, 1, 2),
    "timedelta": dt.timedelta(seconds=1),
    "Decimal": decimal.Decimal("1.10"),
    "int key": {1: "one"},
    "big int": 2**70,
}


class Browser:
    """Keeps one cookie; its requests may overlap."""

    def __init__(self, app: Flask) -> None:
        self.app = app
        self.name = app.config["SESSION_COOKIE_NAME"]
        self.cookie: str | None = None

    def begin(self) -> Request:
        """Send a request; its answer comes when it is ended."""
        return Request(self)

    def do(self, act: Callable[[Any], object]) -> object:
        """Do one request from its begin to its end, and return what *act* returned."""
        request = self.begin()
        answer = act(request.session)
        request.end()
        return answer


class Request:
    """One request, driven by hand as Flask drives it."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        headers = {"Cookie": f"{browser.name}={browser.cookie}"} if browser.cookie else {}
        self._context = browser.app.test_request_context("/", headers=headers)
        app = browser.app
        self.session: Any = app.session_interface.open_session(app, self._context.request)

    def end(self) -> None:
        """Save the session; the browser takes the cookie."""
        browser, response = self._browser, Response()
        app = browser.app
        with app.app_context():
            app.session_interface.save_session(app, self.session, response)
        for line in response.headers.getlist("Set-Cookie"):
            browser.cookie = line.partition(";")[0].partition("=")[2] or None


def signed_in(app: Flask) -> Browser:
    """Return a browser with a session."""
    browser = Browser(app)
    browser.do(lambda found: found.update(user=1, cart=[], last_page="/"))
    return browser


def change_inside(app: Flask) -> str:
    """Change a list in the session without setting ``modified``."""
    browser = signed_in(app)
    browser.do(lambda found: found["cart"].append("tea"))
    return _kept(browser.do(lambda found: found.get("cart") == ["tea"]))


def two_changes(app: Flask) -> str:
    """Change two attributes by two requests that overlap."""
    browser = signed_in(app)
    one, other = browser.begin(), browser.begin()
    one.session["a"] = other.session["b"] = 1
    one.end()
    other.end()
    return _kept(browser.do(lambda found: "a" in found and "b" in found))


def slow_reader(app: Flask) -> str:
    """Change an attribute while a slow request only reads."""
    browser = signed_in(app)
    slow = browser.begin()
    slow.session.get("user")
    browser.do(lambda found: found.update(a=1))
    slow.end()
    return _kept(browser.do(lambda found: "a" in found))


def slow_writer_after_logout(app: Flask) -> str:
    """Sign out while a slow request changes something."""
    browser = signed_in(app)
    slow = browser.begin()
    slow.session["last_page"] = "/slow"
    browser.do(lambda found: found.clear())
    slow.end()
    return "signed in again" if browser.do(lambda found: "user" in found) else "signed out"


def old_cookie_after_logout(app: Flask) -> str:
    """Sign out, and show the cookie from before."""
    browser = signed_in(app)
    before = browser.cookie
    browser.do(lambda found: found.clear())
    browser.cookie = before
    return "signed in" if browser.do(lambda found: "user" in found) else "signed out"


def values(app: Flask) -> str:
    """Store values of many types; name those that do not come back as they were."""
    changed, refused = [], []
    for name, value in VALUES.items():
        browser = Browser(app)
        try:
            browser.do(lambda found, value=value: found.update(value=value))  # type: ignore[misc]
            back = browser.do(lambda found: found["value"])
        except Exception:  # noqa: BLE001  (any error counts)
            refused.append(name)
            continue
        if back != value or type(back) is not type(value):
            changed.append(name)
    parts = [f"changed: {', '.join(changed)}"] if changed else []
    parts += [f"refused: {', '.join(refused)}"] if refused else []
    return "; ".join(parts) or "all come back"


def large(app: Flask) -> str:
    """Store 100 kB."""
    browser = Browser(app)
    browser.do(lambda found: found.update(text=secrets.token_hex(50_000)))
    # Browsers take 4096 bytes.
    return _kept(browser.cookie and len(browser.cookie) < 4096)


class Trace:
    """Leaves one when it is unpickled."""

    ran = False

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return setattr, (Trace, "ran", True)


def pickle_in_memcached(app: Flask, nodes: Sequence[Memcached]) -> str:
    """Put a pickle in place of everything that memcached has of a session."""
    Trace.ran = False
    browser = signed_in(app)
    # Its client does not wait for the reply to a write, but to this.
    browser.do(lambda found: found.get("user"))
    key, code = _key(browser), pickle.dumps(Trace())
    for node in nodes:
        client = Client((HOST, node.port), default_noreply=False)
        client.replace(key, code)
        client.close()
    # What it decodes to is no session.
    with suppress(Exception):
        browser.do(lambda found: found.get("user"))
    return "its code is run" if Trace.ran else "its code is not run"


def _key(browser: Browser) -> str:
    """Return what the session is called in memcached, if it is there."""
    state = browser.app.extensions.get("msm")
    if state is None or browser.cookie is None:
        return f"session:{browser.cookie}"[:250]
    token = signer_for((str(browser.app.secret_key),)).loads(browser.cookie)
    return storage_key(state.settings.key_prefix, token.sid if token else "")


def _kept(kept: object) -> str:
    return "kept" if kept else "lost"


def still_signed_in(browsers: Sequence[Browser]) -> str:
    """Count who is signed in, and who gets an error."""
    there = errors = 0
    for browser in browsers:
        try:
            there += bool(browser.do(lambda found: "user" in found))
        except Exception:  # noqa: BLE001  (a status 500)
            errors += 1
    failed = f", {errors} errors" if errors else ""
    return f"{there} of {BROWSERS} signed in{failed}"


ROWS: dict[str, Callable[[Flask], str]] = {
    "a change inside a value, `modified` not set": change_inside,
    "two requests change different attributes": two_changes,
    "a slow request only reads while another changes": slow_reader,
    "a slow request changes something after the sign-out": slow_writer_after_logout,
    "the cookie from before the sign-out is shown again": old_cookie_after_logout,
    "100 kB in a session": large,
    "values of many types": values,
}
FAULTS: dict[str, Callable[[Memcached], None]] = {
    "one of three nodes is flushed": Memcached.flush,
    "one of three nodes is killed": Memcached.kill,
}


def habits(contenders: Sequence[Contender], nodes: Sequence[Memcached], closing: ExitStack) -> str:
    """Try everything and return a table in Markdown; a node is not there any more then."""
    found = {one.name: one.app for one in contenders}
    apps = {
        "Flask": found[COOKIE],
        "Flask-Session": found[THEIRS],
        "no refresh": found[THEIRS_QUIET],
        "`HashClient`": _hashing(nodes, closing),
        "flask_msm": found[OURS[2]],
    }
    lines = [["", *apps], ["---"] * (len(apps) + 1)]
    lines += [[title, *map(row, apps.values())] for title, row in ROWS.items()]
    row = [pickle_in_memcached(app, nodes) for app in apps.values()]
    lines.append(["an attacker puts a pickle into memcached", *row])
    for title, fault in FAULTS.items():
        people = [[signed_in(app) for _ in range(BROWSERS)] for app in apps.values()]
        fault(nodes[0])
        lines.append([title, *map(still_signed_in, people)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _hashing(nodes: Sequence[Memcached], closing: ExitStack) -> Flask:
    """Return Flask-Session over all nodes, by pymemcache's own fail-over."""
    client = HashClient([(HOST, node.port) for node in nodes], retry_attempts=0)
    closing.callback(client.close)
    app = Flask("hashing")
    app.secret_key = "only for trying"  # noqa: S105
    app.config.update(SESSION_TYPE="memcached", SESSION_MEMCACHED=client)
    FlaskSession(app)
    return app
