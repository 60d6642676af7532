"""The dashboard as an application of its own: no hook of the host runs for its requests."""

from __future__ import annotations

import logging
from contextvars import copy_context
from functools import cached_property
from io import BytesIO
from typing import TYPE_CHECKING, Any

from flask import Flask, Request, Response
from flask.sessions import NullSession, SessionInterface
from werkzeug.local import LocalProxy
from werkzeug.test import run_wsgi_app

from flask_msm.process.locks import ProcessLock

from .access import AccessControl
from .security import harden


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from _typeshed.wsgi import StartResponse, WSGIEnvironment
    from flask.ctx import RequestContext

    from flask_msm.commands import Console
    from flask_msm.settings import Settings

    from .context import DashboardContext


logger = logging.getLogger("flask_msm.admin")

#: What belongs to the body of a request, or to the request that was made of it first.
_OF_THE_BODY = ("werkzeug.request", "HTTP_TRANSFER_ENCODING", "wsgi.input_terminated")


class _NoSessions(SessionInterface):
    """Opens nothing: the session may be what is broken."""

    def open_session(self, app: Flask, request: Request) -> NullSession:  # noqa: ARG002
        """Return a session with nothing in it."""
        return NullSession()


class Dashboard(Flask):
    """Answers for the pages of the dashboard.

    Configuration and extensions are the host's, live: secrets that are set later, ``DEBUG``,
    ``TESTING`` and ``TRUSTED_HOSTS`` hold here as well, and receivers of Flask's signals find
    what they look for. Hooks, error handlers and the session interface are not.

    No method of Flask that handles a request is overridden: Flask 3.2 changes what they take.

    Args:
        host: The application that the dashboard belongs to.
        console: Returns what shows and changes the fleet.
        options: The settings.
        add_pages: Gives it its pages, and returns what they share; called by the first request.

    Raises:
        ConfigError: ``MSM_ADMIN_ACCESS`` cannot be used.
    """

    def __init__(
        self,
        host: Flask,
        console: Callable[[], Console],
        options: Settings,
        *,
        add_pages: Callable[[Dashboard], DashboardContext],
    ) -> None:
        super().__init__("flask_msm_dashboard", static_folder=None, template_folder=None)
        self.host = host
        self.console = console
        self.options = options
        self._add_pages = add_pages
        self.access = AccessControl(options.admin_access, self.ask)
        self.config = host.config
        self.session_interface = _NoSessions()
        self._context: DashboardContext | None = None
        self._lock = ProcessLock()

    @cached_property
    def logger(self) -> logging.Logger:
        """The host's: found when it is needed, after the host has set its logging up."""
        return self.host.logger

    @property
    def context(self) -> DashboardContext:
        """What the pages share; they are made if they are not there yet."""
        if self._context is None:
            with self._lock:
                if self._context is None:
                    self._context = self._complete()
        return self._context

    def _complete(self) -> DashboardContext:
        self.after_request(harden)
        context = self._add_pages(self)
        self.extensions = self.host.extensions
        for rule in self.url_map.iter_rules():
            if rule.methods is not None:
                # Flask answers it before access is checked.
                rule.methods.discard("OPTIONS")
        return context

    def answer(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request, as a WSGI application does; every failure is a 500."""
        try:
            _ = self.context
            # In a copy: no context of ours is left in the thread after an error. The
            # response starts after it, since what wraps ``start_response`` may look for the
            # host's request and would find ours.
            body, status, headers = copy_context().run(
                run_wsgi_app, self.wsgi_app, environ, buffered=True
            )
        except Exception:
            if self._propagates():
                raise
            logger.exception("the dashboard failed on %s", environ.get("PATH_INFO"))
            failed = harden(Response("Internal Server Error\n", 500, mimetype="text/plain"))
            return failed(environ, start_response)
        start_response(status, headers.to_wsgi_list())
        return body

    def ask(self, ask: Callable[..., Any], request: Request) -> Any:
        """Return the answer of *ask* to *request*, asked in a request context of the host.

        The host's session is there to be read; nothing that is written to it is stored. No hook
        of the host runs, but its teardown functions do, to give back what *ask* has taken.

        Args:
            ask: Takes a request of the host's class, without a body.
            request: The request to the dashboard.
        """
        own: Request = request
        if isinstance(own, LocalProxy):
            own = own._get_current_object()  # noqa: SLF001 - the proxy would become the host's request
        environ = {k: v for k, v in own.environ.items() if k not in _OF_THE_BODY}
        environ |= {"wsgi.input": BytesIO(), "CONTENT_LENGTH": "0"}  # the body is read once, by us
        return copy_context().run(self._ask, ask, environ, own)

    def _ask(self, ask: Callable[..., Any], environ: WSGIEnvironment, own: Request) -> Any:
        context = self._pushed(environ)
        request = context.request
        request.url_rule, request.view_args = own.url_rule, own.view_args
        request.routing_exception = None
        try:
            return ask(request)
        finally:
            try:
                context.pop(None)
            except Exception:
                logger.exception("a teardown function failed after MSM_ADMIN_ACCESS was asked")

    def _pushed(self, environ: WSGIEnvironment) -> RequestContext:
        context = self.host.request_context(environ)
        try:
            context.push()
        except Exception:
            logger.exception("the session cannot be opened: MSM_ADMIN_ACCESS is asked without it")
            context = self.host.request_context(environ)
            context._session = NullSession()  # noqa: SLF001 - Flask has no other way
            context.push()
        return context

    def _propagates(self) -> bool:
        propagates = self.config["PROPAGATE_EXCEPTIONS"]
        return self.testing or self.debug if propagates is None else bool(propagates)
