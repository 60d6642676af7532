"""Tells ``MSM_ON_ALERT`` of each change of the verdict on the fleet, once for the fleet.

The living worker of the lowest name looks after each tick. A change counts when it is the same in
two ticks, and what was told last stands in the control map, so that the next worker does not tell
it again. Where no node answers, each host tells what it sees.
"""

from __future__ import annotations

import hmac
import http.client
import json
import logging
import time
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.error import HTTPError, URLError
from urllib.request import HTTPRedirectHandler, Request, build_opener

from flask_msm.cluster.facts import facts_in

from .silences import heard
from .state.attention import attention
from .state.document import item_facts
from .state.formatting import iso
from .state.verdict import verdict


if TYPE_CHECKING:
    from collections.abc import Callable

    from flask_msm.application import Cluster
    from flask_msm.settings.settings import Settings

    from .snapshot import Snapshot
    from .state.verdict import Verdict


logger = logging.getLogger("flask_msm.alerts")

#: Under which name the control map has what was told last.
TOLD = "alert:told"
SIGNATURE = "X-Msm-Signature"
#: Time in seconds for one try, between two tries, and how many there are.
TIMEOUT, PAUSE, TRIES = 3.0, 1.0, 3
#: So many changes wait to be told; more are dropped.
WAITING = 20


class _Told(NamedTuple):
    """A verdict, as far as a change of it counts."""

    level: str
    code: str


class Alerts:
    """Looks at the verdict of one application and tells of its changes.

    Args:
        view: Returns the fleet as it is known here.
    """

    def __init__(self, cluster: Cluster, settings: Settings, view: Callable[[], Snapshot]) -> None:
        self._cluster = cluster
        self._target = settings.on_alert
        self._secret = (settings.alert_secret or "").encode()
        self._view = view
        self._before: _Told | None = None

    def look(self) -> None:
        """See whether the verdict changed; to be called after each tick. Sends nothing itself."""
        workers = self._cluster.workers
        if workers.worker != min(workers.living(), default=workers.worker):
            self._before = None
            return
        whole = self._view()
        snapshot = heard(whole)
        if snapshot is None:
            self._before = None
            return
        found = verdict(snapshot)
        now, before = _Told(found.level, found.code), self._before
        self._before = now
        shared = self._cluster.control.shared
        fields = facts_in(shared.entry(TOLD)[1])
        told = _Told(fields.line("level", 20), fields.line("code", 60)) if fields else None
        if now != before or now == told:
            return
        shared.put(TOLD, json.dumps(now._asdict()).encode())
        self._cluster.bulk.put(self._cluster.reactions.publish)
        # A fleet that is well when it is seen first is no news. What is silenced is not over: it is
        # noted as well, so that what happens beside it is told, and the same when it is silent no
        # more.
        if found.level == "ok" and (told is None or verdict(whole).level != "ok"):
            return
        alert = _alert(snapshot, found, told)
        if not self._cluster.alerts.put(lambda _: self._tell(alert)):
            logger.warning("an alert was dropped, %d wait: %s", WAITING, found.title)

    def _tell(self, alert: dict[str, Any]) -> None:
        if callable(self._target):
            try:
                self._target(alert)
            except Exception:  # a callable of the application
                logger.exception("MSM_ON_ALERT failed: %s", alert["title"])
            return
        body, failure = json.dumps(alert).encode(), None
        for number in range(1, TRIES + 1):
            failure = post(str(self._target), body, self._secret)
            if failure is None:
                return
            if number < TRIES:
                time.sleep(PAUSE)
        # The address may be a secret.
        text = "MSM_ON_ALERT was not told after %d tries (%s): %s"
        logger.error(text, TRIES, failure, alert["title"])


def post(address: str, body: bytes, secret: bytes) -> str | None:
    """Send *body* with its signature; return what failed, ``None`` if it was taken."""
    request = Request(  # noqa: S310  (the settings allow https, and http to this machine)
        address,
        data=body,
        method="POST",
        headers={
            "Content-Type": "application/json",
            SIGNATURE: hmac.new(secret, body, sha256).hexdigest(),
        },
    )
    try:
        with build_opener(_NoRedirect).open(request, timeout=TIMEOUT) as response:
            return None if response.status < 300 else f"status {response.status}"
    except HTTPError as error:
        error.close()
        return f"status {error.code}"
    except URLError as error:
        return type(error.reason).__name__
    except (OSError, http.client.HTTPException) as error:
        return type(error).__name__


class _NoRedirect(HTTPRedirectHandler):
    """Follows nothing: a signed message goes where it was meant to."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def _alert(snapshot: Snapshot, found: Verdict, before: _Told | None) -> dict[str, Any]:
    """Return what is told: also as ``text``, which chat services show."""
    observer = snapshot.observer
    return {
        "schema": 1,
        "app": observer.app,
        "env": observer.environment,
        "at": iso(snapshot.at),
        "level": found.level,
        "code": found.code,
        "title": found.title,
        "text": f"{observer.app}: {found.title}. {found.text}",
        "since": None if found.since is None else iso(found.since),
        "before": None if before is None else before._asdict(),
        "attention": [item_facts(item) for item in attention(snapshot)[:10]],
    }
