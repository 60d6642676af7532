"""What an attacker would try at the dashboard; ``tests/PROMISES.md`` lists it.

Pages to try it at, and names that break pages.
"""

from __future__ import annotations

from dataclasses import replace

from .dashboard import PAGES as SHOWN


#: Those with forms to confirm among them.
HTML_PAGES = [
    *SHOWN,
    "act/stop",
    "act/resume",
    "act/policy?value=local",
    "act/clear?attribute=%22upload%22",
]
PAGES = [*HTML_PAGES, "api/v1/state", "api/v1/metrics"]

HOSTILE = [
    "<img src=x onerror=alert(1)>",
    "\"'><script>alert(1)</script>",
    "</title><script>",
    "javascript:alert(1)",
    "\ud800",
    "\0\r\n\x1b[31m\u2028\u2029",
    "\u202e\u2066\u200b",
    "{{7*7}}{n}{name}{0.__class__}%s%(x)s",
    "é\U0001f600" * 500,
    "x" * 1000,
    "",
]


def named(scene, text):
    """Return *scene* with *text* wherever a name or a sentence comes from elsewhere."""
    workers = [
        replace(worker, id=f"{text}{n}", host=text, version=text, policy=text, control=text)
        for n, worker in enumerate(scene.workers)
    ]
    events = [
        replace(event, id=f"{text}{n}", text=text, kind=text, actor=text, reason=text, node=text)
        for n, event in enumerate(scene.events)
    ]
    blacklist = [
        replace(
            entry,
            attribute=f"{text}{n}",
            type_name=text,
            path=text,
            error=text,
            reason=text,
            endpoint=text,
            added_by=text,
            workers=(text,),
        )
        for n, entry in enumerate(scene.blacklist)
    ]
    nodes = [
        replace(
            node,
            error=f"{text}: {text}",
            address=text,
            stats_error=text,
            opinions=tuple(o._replace(worker=text, error=text) for o in node.opinions),
            stats=replace(node.stats, version=text) if node.stats else None,
        )
        for node in scene.nodes
    ]
    observer = replace(
        scene.observer, app=text, environment=text, worker=text, host=text, version=text
    )
    choices = {
        name: replace(getattr(scene, name), set_by=text, reason=text)
        for name in ("policy", "on_reconnect", "distribution")
    }
    return replace(
        scene,
        workers=tuple(workers),
        events=tuple(events) * 20,
        blacklist=tuple(blacklist),
        nodes=tuple(nodes),
        observer=observer,
        **choices,
    )
