"""What one application's dashboard consists of, and what a request sees of it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from flask import current_app, request, url_for
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from flask_msm.operations.state import facts, formatting
from flask_msm.operations.state.attention import attention
from flask_msm.operations.state.texts import _, listed, plural
from flask_msm.operations.state.verdict import verdict

from . import tags
from .limits import Limiter
from .script_texts import script_texts
from .security import Tokens
from .sparkline import bar, icon, sparkline


if TYPE_CHECKING:
    from flask_msm.commands import Console
    from flask_msm.operations.history import History, RangeName
    from flask_msm.operations.snapshot import Snapshot
    from flask_msm.operations.state.attention import Item
    from flask_msm.operations.state.verdict import Verdict
    from flask_msm.settings import Settings

    from .access import Access, AccessControl


#: Where the overview is in ``url_for``; the other pages are called after it.
ENDPOINT = "msm_admin"
FOLDER = Path(__file__).parent
STATIC = FOLDER / "static"
THEME_COOKIE = "msm_admin_theme"
#: What is drawn on the overview is drawn anew after so many seconds, or when a node changes.
REDRAW = 30.0
#: Time in seconds between two polls.
POLL = 3.0
#: The same while no node answers: polls must not add load then.
POLL_SLOWLY = 10.0

_CLOCK = re.compile(r"(<time [^>]*>)[^<]*")
_TOKEN = re.compile(r'(name="token" value=")[^"]*')
_OPERATOR = "_flask_msm_operator"


class PageContext:
    """What one request sees: one snapshot for everything on the page.

    Args:
        snapshot: What was seen, without what settings hide.
        operator: Who looks.
        base: URL of the dashboard, with a slash at its end.
    """

    def __init__(self, snapshot: Snapshot, operator: Access, base: str) -> None:
        self.snapshot = snapshot
        self.operator = operator
        self.base = base
        self.now = snapshot.at

    @cached_property
    def verdict(self) -> Verdict:
        """What sessions do."""
        return verdict(self.snapshot)

    @cached_property
    def attention(self) -> list[Item]:
        """What is worth a look."""
        return attention(self.snapshot)

    @property
    def poll(self) -> float:
        """Time in seconds after which it is worth looking again."""
        snapshot = self.snapshot
        return POLL_SLOWLY if snapshot.nodes and not facts.answering(snapshot) else POLL


@dataclass(slots=True)
class DashboardContext:
    """Everything the views of one application share.

    Attributes:
        console: Shows and changes the fleet.
        options: The settings.
        access: Says who may do what.
        limiter: Counts what operators do.
        tokens: Signs forms.
        build: Name of the files that browsers have; another one after an upgrade.
    """

    console: Console
    options: Settings
    access: AccessControl
    limiter: Limiter = field(default_factory=Limiter)
    tokens: Tokens = field(default_factory=Tokens)
    build: str = ""
    _recent: tuple[object, History] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        self.build = self.build or _fingerprint()

    def operator(self) -> Access | None:
        """Return who sends this request; asked once for each."""
        # Kept with the request, not in ``g``: an application context that was left pushed
        # is shared by all requests after it, and so would be the first one's answer.
        if not hasattr(request, _OPERATOR):
            setattr(request, _OPERATOR, self.access.operator(request))
        found: Access | None = getattr(request, _OPERATOR)
        return found

    def page(self, *, acting: bool = False) -> PageContext:
        """Return what this request sees.

        Args:
            acting: The operator is about to change something: nodes are asked what holds.
        """
        operator = self.operator()
        if operator is None:
            raise PermissionError
        return PageContext(self.snapshot(ask=acting and operator.can_write), operator, self.base())

    def snapshot(self, *, ask: bool = False) -> Snapshot:
        """Return the fleet, without what settings hide.

        Args:
            ask: Ask the nodes first, which takes a moment.
        """
        return facts.redacted(
            self.console.look() if ask else self.console.view(),
            addresses=self.options.admin_hide_addresses,
            errors=self.options.admin_hide_errors,
        )

    def history(self, name: RangeName) -> History:
        """Return what happened in a range, without what settings hide."""
        found = self.console.history(name)
        if not (self.options.admin_hide_addresses or self.options.admin_hide_errors):
            return found
        hidden = tuple(replace(one, text=facts.without_error(one.text)) for one in found.incidents)
        # A reason may name an address, and is the text of an error.
        outages = tuple(replace(one, why=None) for one in found.outages)
        return replace(found, incidents=hidden, outages=outages)

    def recent(self, snapshot: Snapshot) -> History:
        """Return the last six hours for a page that polls: nodes are asked for them seldom."""
        phases = tuple((node.id, node.phase) for node in snapshot.nodes)
        wanted = phases, snapshot.at // REDRAW
        kept = self._recent
        if kept is None or kept[0] != wanted:
            kept = self._recent = wanted, self.history("6h")
        return kept[1]

    def base(self) -> str:
        """Return the URL under which the dashboard is mounted: a path of this host."""
        # A prefix may come from a header (``ProxyFix(x_prefix=1)``), and "//" or "/\\" would
        # make a browser take what follows for a host.
        path = quote(url_for(f"{ENDPOINT}.index"), safe="/%:@!$&'()*+=~")
        return "/" + path.lstrip("/")

    def token(self, action: str) -> str:
        """Return the token for a form of this operator."""
        operator = self.operator()
        return self.tokens.make(current_app, operator.name if operator else "", action)

    def render(self, template: str, **context: Any) -> Markup:
        """Return a template of ours, with nothing of the application's in it."""
        html = _ENVIRONMENT.get_template(f"flask_msm/{template}").render(context)
        # Half a surrogate pair in a name must not make a page that cannot be sent.
        # The environment escapes, so what it returns is markup.
        return Markup(html.encode(errors="replace").decode())  # noqa: S704


def revision(html: str, salt: str = "") -> str:
    """Return a short name of *html*, the same while only clocks and tokens move."""
    still = _TOKEN.sub(r"\1", _CLOCK.sub(r"\1", html))
    return blake2b((salt + still).encode(), digest_size=4).hexdigest()


def theme() -> str:
    """Return the theme this browser chose; empty for the system's."""
    chosen = request.cookies.get(THEME_COOKIE, "")
    return chosen if chosen in {"light", "dark"} else ""


def _fingerprint() -> str:
    digest = blake2b(digest_size=4)
    for path in sorted(STATIC.iterdir()):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _environment() -> Environment:
    # Not the application's: its context processors may read the session, which may be broken,
    # and its ``config`` has secrets in it.
    environment = Environment(
        loader=FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=tags.finalized,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.globals.update(
        _=_,
        age=tags.age_tag,
        bar=bar,
        clock=tags.clock_tag,
        cut=formatting.cut,
        duration=formatting.duration,
        error_text=facts.error_text,
        fresh=tags.fresh_tag,
        icon=icon,
        iso=formatting.iso,
        left=tags.left_tag,
        listed=listed,
        milliseconds=formatting.milliseconds,
        number=formatting.number,
        percent=formatting.percent,
        plural=plural,
        script_texts=script_texts,
        size=formatting.size,
        sparkline=sparkline,
    )
    environment.filters["quoted"] = formatting.quoted
    return environment


_ENVIRONMENT = _environment()
