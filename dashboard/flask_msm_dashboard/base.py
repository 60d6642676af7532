"""The base of all views: closed by default, our own pages, nothing of the session."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from flask import Response, current_app, request
from flask_admin import BaseView
from werkzeug.exceptions import HTTPException
from werkzeug.utils import send_from_directory

from flask_msm.operations.state.document import SCHEMA
from flask_msm.operations.state.texts import _

from .access import SETTING, Access
from .context import ENDPOINT, DashboardContext, PageContext, revision, theme
from .responses import json_response


if TYPE_CHECKING:
    from collections.abc import Mapping

    from flask import Blueprint
    from flask_admin import Admin
    from werkzeug import Response as BaseResponse


#: Largest form, bytes.
MAX_FORM = 256 * 1024
#: Tokens in sections that are not swapped for other reasons are renewed so often, seconds.
_TOKEN_AGE = 600

#: Failures that are answered here, with the text of the page.
_FAILURES = {
    413: "This form is too large.",
    429: "Too many sign in at once. Try again in a second.",
    500: "Something failed while this was answered. The log of the application says what.",
}

MENU = (
    ("", "Overview"),
    ("history/", "History"),
    ("nodes/", "Nodes"),
    ("workers/", "Workers"),
    ("blacklist/", "Blacklist"),
    ("sessions/", "Look up"),
    ("events/", "Events"),
    ("policy/", "Policy"),
)


class MsmView(BaseView):  # type: ignore[misc]
    """One page, or a few that belong together.

    Args:
        context: What the views share.
        path: Where it is, relative to the dashboard; empty for the overview.
        name: What Flask-Admin calls it.
        static_folder: Folder with files for browsers, of one view only.
    """

    def __init__(
        self, context: DashboardContext, *, path: str, name: str, static_folder: str | None = None
    ) -> None:
        self.context = context
        self.path = path
        url = context.options.admin_url + (f"/{path}" if path else "")
        endpoint = f"{ENDPOINT}_{path.replace('/', '_')}" if path else ENDPOINT
        super().__init__(name=name, endpoint=endpoint, url=url, static_folder=static_folder)

    # -- Flask-Admin's hooks -------------------------------------------------------------------

    def create_blueprint(self, admin: Admin) -> Blueprint:
        """Return the blueprint, with answers of this view to what fails in it."""
        blueprint: Blueprint = super().create_blueprint(admin)
        blueprint.url_value_preprocessor(_bound_form)
        for status in _FAILURES:
            blueprint.register_error_handler(status, self.failed)
        if self.static_folder:
            blueprint.send_static_file = partial(  # type: ignore[assignment]
                _send_file, self.static_folder
            )
        return blueprint

    def is_visible(self) -> bool:
        """Return ``False``: the menu is our own."""
        return False

    def is_accessible(self) -> bool:
        """Return whether the access callable allows the sender to look."""
        return isinstance(self.context.operator(), Access)

    def inaccessible_callback(self, name: str, **kwargs: Any) -> Response:  # noqa: ARG002
        """Refuse: with a challenge if there is a way to sign in, never with a redirect."""
        access = self.context.access
        if access.challenge:
            response = self.refusal(401, _("Sign in to see this page."))
            response.headers["WWW-Authenticate"] = access.challenge
            return response
        if access.configured:
            return self.refusal(403, _("You may not see this page."))
        host = getattr(current_app, "host", current_app)
        if host.config.get(SETTING) is not None:
            access.note_late()
            text = _("This dashboard is closed, because MSM_ADMIN_ACCESS was set after init_app.")
            return self.refusal(403, text, hints=[_("Set it before init_app(app) is called.")])
        return self.refusal(
            403,
            _("This dashboard is closed, because MSM_ADMIN_ACCESS is not set."),
            hints=[
                _("from flask_msm_dashboard import basic_auth"),
                _('app.config["MSM_ADMIN_ACCESS"] = basic_auth({"ops": password_hash})'),
                _("password_hash: werkzeug.security.generate_password_hash(password)"),
            ],
        )

    def _run_view(self, fn: Any, *args: Any, **kwargs: Any) -> Any:
        # The inherited one calls a view that raises TypeError a second time.
        return fn(self, *args, **kwargs)

    # -- pages ---------------------------------------------------------------------------------

    def show(
        self,
        template: str,
        title: str,
        *,
        sections: Mapping[str, Mapping[str, Any]],
        page: PageContext | None = None,
        status: int = 200,
        live: bool = True,
        **context: Any,
    ) -> Response:
        """Return a page, or with ``?live=`` only those sections the browser does not have.

        Args:
            template: Name of its template.
            title: Its title.
            sections: What each section needs, by name of its template.
            page: What is seen.
            status: Status of the response.
            live: Whether the page keeps itself up to date.
            context: What else the page's own template needs.
        """
        page = page or self.context.page()
        salt = str(int(page.now // _TOKEN_AGE))
        shared = {"page": page, "snapshot": page.snapshot, "now": page.now, "view": self}
        rendered = {}
        for name, needs in sections.items():
            html = self.context.render(f"sections/{name}.html", **shared, **needs).strip()
            rendered[name] = revision(html, salt if 'name="token"' in html else ""), html
        if live and "live" in request.args:
            return self._changes(page, rendered, title)
        body = self.context.render(
            f"pages/{template}.html",
            **shared,
            **context,
            title=title,
            rendered=rendered,
            live=live,
            menu=MENU,
            theme=theme(),
            schema=SCHEMA,
            build=self.context.build,
        )
        return Response(body, status, mimetype="text/html")

    def _changes(
        self, page: PageContext, rendered: Mapping[str, tuple[str, str]], title: str
    ) -> Response:
        have = dict(part.split(":", 1) for part in request.args["live"].split(",") if ":" in part)
        changed = {
            name: {"rev": rev, "html": html}
            for name, (rev, html) in rendered.items()
            if have.get(name) != rev
        }
        return json_response(
            {
                "schema": SCHEMA,
                "build": self.context.build,
                "at": int(page.now),
                "poll_after_ms": int(page.poll * 1000),
                "title": self.page_title(page, title),
                "sections": changed,
            }
        )

    def page_title(self, page: PageContext, title: str) -> str:
        """Return the title of the window: it carries the verdict."""
        environment = page.snapshot.observer.environment or page.snapshot.observer.app
        return f"{title} · {environment} · {_('Sessions')}"

    def refusal(
        self, status: int, text: str, *, hints: list[str] | None = None, back: str | None = None
    ) -> Response:
        """Return an error, as a page or for programs; never a redirect."""
        if self.wants_json():
            code = {400: "refused", 401: "signed_out", 403: "forbidden", 404: "missing"}
            code |= {409: "conflict", 413: "too_large", 429: "too_many"}
            code |= {500: "failed", 501: "not_installed"}
            error = {"code": code.get(status, "error"), "text": text}
            return json_response({"error": error}, status)
        heading = {
            400: _("That cannot be done"),
            401: _("Sign in"),
            403: _("Closed"),
            404: _("Not found"),
            409: _("It was changed in the meantime"),
            413: _("Too large"),
            429: _("Too fast"),
        }.get(status, _("Error"))
        body = self.context.render(
            "pages/refusal.html",
            title=heading,
            text=text,
            hints=hints or [],
            back=back,
            theme=theme(),
            base=self.context.base(),
            build=self.context.build,
        )
        return Response(body, status, mimetype="text/html")

    def failed(self, error: HTTPException) -> Any:
        """Return the answer to *error*, one of those that are handled here.

        Args:
            error: With a status of ``_FAILURES``, or answered already.
        """
        if error.response is not None:
            return error.get_response()  # the error has its own response
        status = error.code or 500
        response = self.refusal(status, _(_FAILURES[status]))
        retry_after = getattr(error, "retry_after", None)
        if retry_after is not None:
            response.headers["Retry-After"] = str(retry_after)
        return response

    def wants_json(self) -> bool:
        """Return whether a program asks: our own poller, or one that prefers JSON."""
        if "live" in request.args:
            return True
        accept = request.accept_mimetypes
        return bool(accept) and accept.best_match(["text/html", "application/json"]) == (
            "application/json"
        )


def _send_file(folder: str, filename: str) -> BaseResponse:
    """Return a file in full: ``USE_X_SENDFILE`` is of a server that knows the host's files only."""
    max_age = current_app.get_send_file_max_age(filename)
    return send_from_directory(folder, filename, request.environ, max_age=max_age)


def _bound_form(_endpoint: str | None, _values: dict[str, Any] | None) -> None:
    """Refuse large forms, before anything reads one."""
    request.max_content_length = MAX_FORM
