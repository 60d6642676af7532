"""Flask's session interface: cookie to token, token to cookie."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from functools import cache
from inspect import getattr_static
from itertools import islice
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from flask import Flask
from flask.sessions import SessionInterface, SessionMixin
from werkzeug.http import dump_cookie
from werkzeug.sansio.response import Response as WerkzeugResponse

from flask_msm.process.forks import forget_in_children
from flask_msm.sessions.request import RequestContext
from flask_msm.sessions.session import PERMANENT as SESSION_PERMANENT
from flask_msm.sessions.session import Session
from flask_msm.sessions.unit_of_work import Action, UnitOfWork
from flask_msm.settings.secret_keys import secrets_of
from flask_msm.settings.types import switched_on

from .errors import ReadOnlyError, quoted
from .record.token import PERMANENT, Token, cookie_pattern, peek_flags, signer_for


if TYPE_CHECKING:
    from datetime import datetime

    from flask import Request, Response

    from flask_msm.sessions.record_builder import Changes
    from flask_msm.sessions.repository import Repository

    from .record.token import TokenSigner


logger = logging.getLogger("flask_msm")

SessionMixin.register(Session)

#: So many verified cookies of the session's name are looked at.
MAX_COOKIES = 4
#: Requests for views with this attribute do not count as use of a session, so that a page that
#: polls does not keep its operator's session alive.
PASSIVE_VIEW = "_flask_msm_looks_on"
#: Set on a view function by ``read_only``.
READ_ONLY = "_flask_msm_read_only"


class MsmSessionInterface(SessionInterface):
    """Flask's session interface: opens sessions without I/O, saves them before the response leaves.

    A subclass may override ``should_set_cookie``, ``get_expiration_time`` and each ``get_cookie_*``
    of ``flask.sessions.SessionInterface``, and extend ``open_session`` and ``save_session``; an
    ``__init__`` of its own passes on what it is given. Hand the class, not an object, to
    ``MemcachedSessionManager(interface=...)``.

    Args:
        repository: The application's sessions.
        idle_timeout: Time in seconds a session lives without a request; ``None`` for Flask's
            ``PERMANENT_SESSION_LIFETIME``.
        ignore: Requests whose path matches never write a session or set a cookie.
        route: Put behind the cookie's signature for the load balancer.
        on_load: Called before a session is read or written.
        on_request: Called with the first request of each process; must not wait.
    """

    def __init__(
        self,
        repository: Repository,
        *,
        idle_timeout: float | None = None,
        ignore: re.Pattern[str] | None = None,
        route: str | None = None,
        on_load: Callable[[], object] | None = None,
        on_request: Callable[[], object] | None = None,
    ) -> None:
        self.repository = repository
        self._idle_timeout = idle_timeout
        self._ignore = ignore
        self._route = route
        #: Called before a session is read or written.
        self.before_load: Callable[[], object] = on_load or _nothing
        self._on_request = on_request
        #: Whether the first request of this process is still to come.
        self._is_first = on_request is not None
        forget_in_children(self)
        self._cookie: SessionCookie | None = None
        self.names_cookie_itself = any(
            getattr(type(self), f"get_cookie_{what}")
            is not getattr(SessionInterface, f"get_cookie_{what}")
            for what in _PARTS
        )
        #: The life that was configured when it was asked for last, and what that is in seconds, if
        #: sessions live as long as that.
        self.known_life: tuple[object, float] = (object(), 0.0)
        self._expires_itself = (
            type(self).get_expiration_time is not SessionInterface.get_expiration_time
        )
        self._decides_itself = (
            type(self).should_set_cookie is not MsmSessionInterface.should_set_cookie
        )

    # -- opening -------------------------------------------------------------------------------

    def is_null_session(self, obj: object) -> bool:
        """Return whether *obj* stands for a session that cannot be opened."""
        return type(obj) is not Session and super().is_null_session(obj)

    def open_session(self, app: Flask, request: Request) -> Session | None:  # type: ignore[override]
        """Return an unloaded session; ``None`` without a secret key, as Flask does."""
        if self._is_first and self._on_request is not None:
            self._is_first = False
            self._on_request()
        secret = app.secret_key
        if not secret:
            return None
        return Session(backing=UnitOfWork(FlaskRequest(self, app, request, secret)))

    def forget(self) -> None:
        """Be as new, in a forked child."""
        self._is_first = self._on_request is not None

    def life(self, app: Flask) -> float:
        """Return the time in seconds a session lives without a request."""
        if self._idle_timeout is not None:
            return self._idle_timeout
        configured, life = app.config["PERMANENT_SESSION_LIFETIME"], app.permanent_session_lifetime
        if not is_overridden(type(app), "permanent_session_lifetime"):  # type: ignore[arg-type]
            self.known_life = configured, life.total_seconds()
        return life.total_seconds()

    # -- saving --------------------------------------------------------------------------------

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        """Store what changed and set the headers as Flask's own session does.

        Raises:
            SerializationError: Something cannot be stored.
        """
        # None after a failed open, or an object of another extension: nothing of ours.
        if not isinstance(session, Session):
            return
        unit = session._backing
        context = unit.request if unit else None
        if unit is None or not isinstance(context, FlaskRequest):
            return
        unit.answered = True
        loaded, request = session._loaded, context.request
        accessed = session.accessed
        if accessed:
            _vary_on_cookie(response)
        if self._ignore is not None and self.is_ignored(request):
            return
        if not loaded and self._nothing_to_do(app, session, request):
            return
        rule, plain = request.url_rule, None  # as is_read_only(), which is a call more
        saves = rule is None or not hasattr(app.view_functions.get(rule.endpoint), READ_ONLY)
        if loaded:
            known = self.known_life
            is_known = app.config["PERMANENT_SESSION_LIFETIME"] is known[0]
            context.life = known[1] if is_known else context.read_life()
            plain = unit.tracker.plain_changes(session)
            # Nothing differs, as of most sessions, and neither session nor cookie is due.
            if (
                saves
                and plain is not None
                and not (plain or session._marked or self._decides_itself)
                and unit.action is Action.KEEP
                and not context.is_refresh_due(unit.record)
                and not (
                    app.config["SESSION_REFRESH_EACH_REQUEST"]
                    and SESSION_PERMANENT in (session._undecoded or ())
                    and session.permanent
                )
            ):
                return
            if not saves and (changed := unit.changed_names(session, plain)):
                self._refuse_changes(app, changed, request.endpoint)
                return
        session._saving = True
        try:
            sets_cookie = self._answer(
                app, session, unit, context, response, saves=saves, plain=plain
            )
        except BaseException:
            unit.answered = False  # another response follows, of an error handler
            raise
        finally:
            session._saving = False
        if sets_cookie and not accessed:
            _vary_on_cookie(response)

    def _answer(
        self,
        app: Flask,
        session: Session,
        unit: UnitOfWork,
        request: FlaskRequest,
        response: Response,
        *,
        saves: bool,
        plain: Changes | None,
    ) -> bool:
        """Store what is to be stored, and set the cookie; return whether that was due.

        Args:
            app: The application.
            session: The session of the request.
            unit: What stands behind it.
            request: The request.
            response: Gets the headers.
            saves: Changes are stored; without it the session is refreshed at most.
            plain: What ``ChangeTracker.plain_changes`` returned.
        """
        # A wrong parameter raises here, before anything is written.
        cookie = self._cookie
        if cookie is None or self.names_cookie_itself or cookie.source != _configured(app.config):
            cookie = self._cookie = self._cookie_of(app)
        loaded = session._loaded
        if not loaded:
            request.judge()
        before = request.token
        if (before is None or request.is_open) and saves and session.modified:
            session._load()  # costs nothing without a cookie
            loaded = True
        if saves and loaded:
            action = unit.finish(session, plain)
        elif request.is_refresh_due(unit.record) and (
            request.token_permanent or session.accessed or session.modified
        ):
            action = unit.refresh(session)
        else:
            action = Action.KEEP
        if action is Action.DELETE:
            response.delete_cookie(cookie.name, **cookie.parameters)
            return True
        token = request.token
        is_empty = session._loaded and dict.__len__(session) == 0
        if token is None or unit.frozen or request.is_open or is_empty:
            return False
        unit.cookie_due = token != before or action is Action.SET
        # Unless the application overrides it, the same as calling ``should_set_cookie``.
        decides = self.should_set_cookie if self._decides_itself else super().should_set_cookie
        asks = self._decides_itself or not unit.cookie_due
        if asks and not decides(app, session):  # type: ignore[arg-type]
            return False
        if request.several and cookie.parameters["domain"]:
            # First, for the browser that takes both cookies for one.
            response.delete_cookie(cookie.name, **{**cookie.parameters, "domain": None})
        value, expires = request.signer.dumps(token, self._route), None
        # What was just stored is as permanent as the session, without asking it.
        permanent = session.permanent if token is before else token.permanent
        if self._expires_itself or permanent:
            expires = self.get_expiration_time(app, session)  # type: ignore[arg-type]
        if type(response).set_cookie is not WerkzeugResponse.set_cookie:
            response.set_cookie(cookie.name, value, expires=expires, **cookie.parameters)
            return True
        start, end = cookie.texts if expires is None else cookie.expiring(expires)
        response.headers.add("Set-Cookie", start + value + end)
        return True

    def _cookie_of(self, app: Flask) -> SessionCookie:
        """Return the cookie as the application is configured now."""
        source = _configured(app.config)
        if self.names_cookie_itself:
            source = self._cookie_parts(app)
            if self._cookie is not None and self._cookie.source == source:
                return self._cookie
        name, *rest = self._cookie_parts(app)
        parameters = dict(zip(_PARTS[1:], rest, strict=True))
        return SessionCookie(name, parameters, source)

    def _cookie_parts(self, app: Flask) -> tuple[Any, ...]:
        """Return what the cookie has beside its value, in the order of ``_PARTS``."""
        return tuple(getattr(self, f"get_cookie_{what}")(app) for what in _PARTS)

    def should_set_cookie(self, app: Flask, session: SessionMixin) -> bool:
        """Return whether the response sets the cookie of *session*.

        Beside Flask's own reasons this is so when what the cookie holds has changed: after a
        refresh, a change inside a value, or with a new id. Without it the browser goes on with the
        cookie it has, which leads to the session until that would have expired, or to nothing after
        a new id.

        Args:
            app: The application.
            session: The session, already stored.
        """
        unit = session._backing if isinstance(session, Session) else None
        if unit is not None and unit.cookie_due:
            return True
        return super().should_set_cookie(app, session)

    def _nothing_to_do(self, app: Flask, session: Session, request: Request) -> bool:
        """Return whether a request that did not touch its session is done with it.

        Looks at the cookie unverified, which is enough to see that nothing asks for an answer:
        only permanent sessions are sent again on requests that do not touch them.
        """
        if session._marked or session.accessed:
            return False
        rule = request.url_rule
        if rule is not None and hasattr(app.view_functions.get(rule.endpoint), PASSIVE_VIEW):
            return True
        if self._decides_itself:
            return False
        if not app.config["SESSION_REFRESH_EACH_REQUEST"]:
            return True
        for text in self.cookie_texts(app, request):
            if PERMANENT in (peek_flags(text) or ""):
                return False
        return True

    def cookie_texts(self, app: Flask, request: Request) -> list[str]:
        """Return what may be cookies of ours, without parsing every other cookie."""
        header = request.environ.get("HTTP_COOKIE", "")
        own = self.names_cookie_itself
        name = self.get_cookie_name(app) if own else app.config["SESSION_COOKIE_NAME"]
        return cookie_pattern(name).findall(header) if name in header else []

    def is_ignored(self, request: Request) -> bool:
        """Return whether *request* never stores anything nor sets a cookie."""
        return self._ignore is not None and self._ignore.search(request.path) is not None

    def is_read_only(self, app: Flask, request: Request) -> bool:
        """Return whether the view of *request* was marked with ``read_only``."""
        rule = request.url_rule
        return rule is not None and hasattr(app.view_functions.get(rule.endpoint), READ_ONLY)

    def _refuse_changes(self, app: Flask, names: set[str], endpoint: str | None) -> None:
        listed = ", ".join(quoted(name) for name in sorted(names))
        message = f"the read_only view {endpoint!r} changed the session: {listed}"
        if switched_on(app.debug):
            raise ReadOnlyError(message)
        logger.warning("%s; nothing was saved", message)


#: What the cookie has beside its value, as ``get_cookie_*`` return it.
_PARTS = ("name", "domain", "path", "secure", "partitioned", "samesite", "httponly")
#: Returns the configuration that decides about that, if no subclass of the interface does.
_configured = itemgetter(
    "SESSION_COOKIE_NAME",
    "SESSION_COOKIE_DOMAIN",
    "SESSION_COOKIE_PATH",
    "APPLICATION_ROOT",
    "SESSION_COOKIE_SECURE",
    "SESSION_COOKIE_PARTITIONED",
    "SESSION_COOKIE_SAMESITE",
    "SESSION_COOKIE_HTTPONLY",
)


class SessionCookie:
    """The session's cookie in responses, as Werkzeug writes it.

    Werkzeug writes it once; then only the value changes, and the expiry of permanent sessions.

    Args:
        name: Its name.
        parameters: What ``set_cookie`` takes beside name, value and expiry.
        source: What they follow from: while it is the same, so are they.

    Attributes:
        texts: What stands before and behind the value, which needs no quotes, if it does not
            expire.

    Raises:
        ValueError: A parameter is not possible, in the words of Werkzeug.
    """

    def __init__(self, name: str, parameters: dict[str, Any], source: tuple[object, ...]) -> None:
        self.name = name
        self.parameters = parameters
        self.source = source
        self.texts = self._written(None)
        #: An expiry, seconds since the epoch, and the texts with it.
        self._expiring: tuple[int | None, tuple[str, str]] = None, self.texts

    def expiring(self, expires: datetime) -> tuple[str, str]:
        """Return the texts of a cookie that expires."""
        second, (known, texts) = int(expires.timestamp()), self._expiring
        if known != second:
            texts = self._written(expires)
            self._expiring = second, texts
        return texts

    def _written(self, expires: datetime | None) -> tuple[str, str]:
        header = dump_cookie(self.name, "", expires=expires, **self.parameters)
        start, equals, end = header.partition("=")
        return start + equals, end


@cache
def is_overridden(kind: type[Flask], name: str) -> bool:
    """Return whether applications of this *kind* have another attribute *name* than Flask's own."""
    return getattr_static(kind, name) is not getattr_static(Flask, name)


def _vary_on_cookie(response: Response) -> None:
    """Let caches know that the response depends on the cookie."""
    headers = response.headers
    for name, _ in headers:
        if name.lower() == "vary":
            response.vary.add("Cookie")
            return
    headers.add("Vary", "Cookie")


class FlaskRequest(RequestContext):
    """What a session knows of a request of Flask.

    Attributes:
        signer: Signs cookies with the secrets of the application, and verifies those that came.
    """

    signer: TokenSigner

    def __init__(
        self, interface: MsmSessionInterface, app: Flask, request: Request, secret: str | bytes
    ) -> None:
        self.repository = interface.repository
        self._interface = interface
        self._app = app
        self._secret = secret
        self.request = request
        self.before_store = interface.before_load

    @property
    def endpoint(self) -> str | None:
        """The endpoint, known once the request was matched."""
        return self.request.endpoint

    @property
    def writable(self) -> bool:
        """Whether this request may store anything."""
        interface = self._interface
        return not (
            interface.is_ignored(self.request) or interface.is_read_only(self._app, self.request)
        )

    def read_cookies(self) -> tuple[Token, ...]:
        """Return the first cookies of the session's name that were signed here."""
        app = self._app
        secrets = secrets_of(app) if app.config["SECRET_KEY_FALLBACKS"] else (self._secret,)
        signer = self.signer = signer_for(secrets or ("",))
        interface = self._interface
        if interface.names_cookie_itself:
            texts = interface.cookie_texts(app, self.request)
        else:
            # As cookie_texts(), which is a call more for each request.
            name = app.config["SESSION_COOKIE_NAME"]
            header = self.request.environ.get("HTTP_COOKIE", "")
            texts = cookie_pattern(name).findall(header) if name in header else []
        if len(texts) == 1 and (token := signer.known.get(texts[0])) is not None:
            return (token,)
        tokens = tuple(islice(filter(None, map(signer.loads, texts)), MAX_COOKIES))
        if texts and not tokens:
            self.repository.losses.refused(texts[:MAX_COOKIES])
        return tokens

    def read_life(self) -> float:
        """Return the time in seconds a session lives without a request."""
        interface = self._interface
        configured, known = self._app.config["PERMANENT_SESSION_LIFETIME"], interface.known_life
        return known[1] if configured is known[0] else interface.life(self._app)


def _nothing() -> None:
    """Do nothing: the default of ``on_load``."""
