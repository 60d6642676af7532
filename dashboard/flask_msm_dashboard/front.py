"""Puts the dashboard before the host: behind its WSGI middleware, and before all of its hooks."""

from __future__ import annotations

import logging
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import TYPE_CHECKING, Any, cast

from flask import Flask, Response, request

from flask_msm.interface import PASSIVE_VIEW

from .application import Dashboard


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    from flask_msm.commands import Console
    from flask_msm.settings import Settings

    from .context import DashboardContext


logger = logging.getLogger("flask_msm.admin")

#: The rules of the host are called ``msm_admin.index`` and ``msm_admin.page``.
ENDPOINT = "msm_admin"

#: Objects that are looked through for the place: chains of middleware are far shorter.
_MOST_OBJECTS = 100
_LEAVES = (type, FunctionType, BuiltinFunctionType, MethodType, Flask)


def mount(host: Flask, console: Callable[[], Console], settings: Settings) -> Dashboard:
    """Put the dashboard at ``MSM_ADMIN_URL`` of *host*, out of reach of its hooks.

    The place is the innermost one: middleware of the host stands before the dashboard, whether it
    was added before or is added later. The host gets two rules as well, for ``url_for`` and
    ``flask routes``; they answer where the place was lost.

    Args:
        host: Has not answered a request yet. Its pages stay as they are.
        console: Returns what shows and changes the fleet; called by the first request.
        settings: The settings of the application.

    Raises:
        ConfigError: ``MSM_ADMIN_ACCESS`` cannot be used.
    """
    dashboard = Dashboard(host, console, settings, add_pages=_add_pages)
    prefix = settings.admin_url
    _add_rules(host, dashboard, prefix)
    places = list(_places(host))
    inner: WSGIApplication = host.wsgi_app
    if places:
        inner = getattr(*places[0])
    elif not _is_own(host, inner):
        # A function does not show what it calls.
        logger.warning(
            "app.wsgi_app was wrapped in %s before init_app, which stands behind the dashboard"
            " now: call init_app first if it matters there, as ProxyFix does",
            getattr(inner, "__qualname__", type(inner).__qualname__),
        )
    size = len(prefix)
    shadowed_is_known = False

    def front(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        # Without calls, for this is in the way of every request.
        path: str = environ["PATH_INFO"] if "PATH_INFO" in environ else ""  # noqa: SIM401
        if path[:size] == prefix and path[size : size + 1] in {"", "/"}:
            nonlocal shadowed_is_known
            if not shadowed_is_known:
                shadowed_is_known = True
                _say_what_is_shadowed(host, prefix)
            return dashboard.answer(environ, start_response)
        return inner(environ, start_response)

    for holder, name in places or [(host, "wsgi_app")]:
        setattr(holder, name, front)
    return dashboard


def _is_own(host: Flask, found: object) -> bool:
    """Return whether *found* is the host's own ``wsgi_app``, as it was before any middleware."""
    return (
        type(found) is MethodType
        and found.__self__ is host
        and found.__func__.__name__ == "wsgi_app"
    )


def _places(host: Flask) -> Iterator[tuple[Any, str]]:
    """Yield the objects in the chain of middleware that call the host itself, and by which name.

    Every middleware keeps what it wraps under a name of its own.
    """
    if _is_own(host, host.wsgi_app):
        yield host, "wsgi_app"
        return
    waiting: list[Any] = [host.wsgi_app]
    seen = {id(host)}
    while waiting and len(seen) < _MOST_OBJECTS:
        holder = waiting.pop(0)
        if id(holder) in seen or issubclass(type(holder), _LEAVES):
            continue
        seen.add(id(holder))
        for name, found in _attributes(holder):
            if _is_own(host, found):
                if _can_set(holder, name, found):
                    yield holder, name
            elif callable(found):
                waiting.append(found)


def _attributes(holder: object) -> list[tuple[str, Any]]:
    """Return what *holder* keeps, by name; nothing of what refuses to be looked at."""
    try:
        names = list(getattr(holder, "__dict__", ()))
        for kind in type(holder).__mro__:
            slots = kind.__dict__.get("__slots__", ())
            names += [slots] if isinstance(slots, str) else slots
        return [(name, getattr(holder, name, None)) for name in names]
    except Exception:  # noqa: BLE001 - proxies without a context and other foreign objects
        return []


def _can_set(holder: object, name: str, value: object) -> bool:
    try:
        setattr(holder, name, value)
    except Exception:  # noqa: BLE001 - as above
        return False
    return True


def _add_pages(dashboard: Dashboard) -> DashboardContext:
    # Not before: a worker that answers no request to the dashboard needs neither them nor
    # Flask-Admin.
    from .pages import add_pages  # noqa: PLC0415

    return add_pages(dashboard)


def _add_rules(host: Flask, dashboard: Dashboard, prefix: str) -> None:
    warned = False

    def delegate(**_values: Any) -> Response:
        nonlocal warned
        if not warned:
            warned = True
            logger.warning(
                "app.wsgi_app was replaced by one from before init_app: hooks of the application"
                " run before the dashboard. Wrap the app.wsgi_app of after init_app instead"
            )
        return cast("Response", Response.from_app(dashboard.answer, request.environ))

    setattr(delegate, PASSIVE_VIEW, True)
    for path, name in (("/", "index"), ("/<path:page>", "page")):
        host.add_url_rule(
            prefix + path,
            f"{ENDPOINT}.{name}",
            delegate,
            methods=("GET", "POST"),
            provide_automatic_options=False,
        )


def _say_what_is_shadowed(host: Flask, prefix: str) -> None:
    for rule in host.url_map.iter_rules():
        below = rule.rule == prefix or rule.rule.startswith(prefix + "/")
        if below and not rule.endpoint.startswith(f"{ENDPOINT}."):
            logger.warning("%s is below the dashboard and never reached", rule.rule)
