"""The application that people click in: small, with a usual configuration."""

from __future__ import annotations

import json
import logging
import os
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from typing import Any

from flask import Flask, Response, g, request, session
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import InternalServerError

from flask_msm import (
    MemcachedSessionManager,
    SessionTooLargeError,
    destroy,
    mode_changed,
    regenerate,
)
from flask_msm.record.codec.msgpack import MsgpackCodec

from .tls import with_context


#: Environment variables: configuration as JSON, name of the site, folder of the workers' notes.
CONFIG, SITE, NOTES = "DRILL_CONFIG", "DRILL_SITE", "DRILL_NOTES"
#: In the configuration: the codec, of which both read JSON as well and one writes it.
CODEC, READS_JSON, WRITES_JSON = "DRILL_CODEC", "reads JSON", "writes JSON"
#: Headers: where the session was kept before and after the request, and which site answered.
MODE, PLACE, WAYS = "X-Mode", "X-Site", "X-Ways"

#: In the body of an answer: the attribute that makes the session too large.
TOO_LARGE = "too large"


class BothForms(MsgpackCodec):
    """Reads MessagePack and JSON, under the one id that records name.

    Args:
        writes_json: What is written.
    """

    # Of a byte that is MessagePack for a zero, which nothing may follow there.
    _MARK = b"\0"

    def __init__(self, *, writes_json: bool) -> None:
        super().__init__()
        self._writes_json = writes_json

    def dumps(self, value: object) -> bytes:
        """Return *value* as bytes."""
        return (
            self._MARK + json.dumps(value).encode() if self._writes_json else super().dumps(value)
        )

    def loads(self, data: bytes) -> object:
        """Return the value that became *data*."""
        is_json = data[:1] == self._MARK and len(data) > 1
        return json.loads(data[1:]) if is_json else super().loads(data)


def codec() -> MsgpackCodec:
    """Return the codec of this worker."""
    name = json.loads(os.environ.get(CONFIG, "{}")).get(CODEC, "")
    return BothForms(writes_json=name == WRITES_JSON) if name else MsgpackCodec()


manager = MemcachedSessionManager(codec=codec())


def create_app() -> Flask:
    """Return the application of one worker."""
    app = Flask("drill")
    app.config.update(with_context(json.loads(os.environ[CONFIG])))
    manager.init_app(app)
    mode_changed.connect(_note, app)

    @app.before_request
    def begin() -> None:
        g.mode = manager.state().mode

    @app.after_request
    def end(response: Response) -> Response:
        response.headers[MODE] = f"{g.mode} {manager.state().mode}"
        response.headers[PLACE] = os.environ[SITE]
        response.headers[WAYS] = _ways(app)
        return response

    @app.errorhandler(InternalServerError)
    def fail(error: InternalServerError) -> ResponseReturnValue:
        cause = error.original_exception
        if isinstance(cause, SessionTooLargeError):
            return {TOO_LARGE: cause.attribute}, HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        return error

    # The client gets an answer that names it; it is no fault of the worker.
    app.logger.addFilter(_is_fault)

    @app.get("/")
    def show() -> ResponseReturnValue:
        return dict(session)

    @app.post("/set")
    def change() -> ResponseReturnValue:
        # Nothing is read before: a value set after a read as "not there" is provisional.
        session.update(request.get_json())
        return dict(session)

    @app.post("/sign-in")
    def sign_in() -> ResponseReturnValue:
        regenerate()
        session.update(request.get_json())
        return dict(session)

    @app.post("/sign-out")
    def sign_out() -> ResponseReturnValue:
        destroy()
        return {}

    @app.get("/up")
    def up() -> ResponseReturnValue:
        return "up"

    @app.get("/worker")
    def worker() -> ResponseReturnValue:
        session["visits"] = 1  # the upkeep of a worker begins with the first session it keeps
        _note(app, mode=manager.state().mode)
        return {"pid": os.getpid()}

    return app


def _ways(app: Flask) -> str:
    """Return the process, and how many of its reads and changes took the fast path, or another."""
    cluster = manager.state(app).parts.cluster
    assert cluster is not None  # noqa: S101  (there are nodes)
    path = cluster.fast_path
    return f"{os.getpid()} {path.reads + path.writes} {path.other_reads + path.other_writes}"


def _is_fault(record: logging.LogRecord) -> bool:
    return not (record.exc_info and isinstance(record.exc_info[1], SessionTooLargeError))


def _note(sender: Flask, *, mode: str, **_: Any) -> None:
    """Write down in which mode this worker is, for the process that waits for it."""
    del sender
    note = Path(os.environ[NOTES], f"{os.getpid()}")
    fresh = note.with_suffix(".new")
    with suppress(OSError):  # one of the acts leaves no room to write
        fresh.write_text(mode)
        fresh.rename(note)  # no reader sees half a note
