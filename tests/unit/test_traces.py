"""What an error tracker takes along of a request that failed: the variables, and no session id."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from flask import session
from support.apps import make_app

import flask_msm
from flask_msm import regenerate


PACKAGE = str(Path(flask_msm.__file__).parent)


def variables(error):
    """Return how the variables of our functions are shown that *error* came through."""
    while error is not None:
        trace = error.__traceback__
        while trace is not None:
            if trace.tb_frame.f_code.co_filename.startswith(PACKAGE):
                yield from map(repr, trace.tb_frame.f_locals.values())
            trace = trace.tb_next
        error = error.__cause__ or error.__context__


def break_nodes(shop):
    for node in shop.nodes.values():
        node.fail(ZeroDivisionError())


@pytest.mark.parametrize(
    "fail",
    [
        lambda _: session.update(lock=threading.Lock()),
        lambda _: (regenerate(), session.update(lock=threading.Lock())),
        lambda _: (session.update(lock=threading.Lock()), session.save()),
        lambda _: session.update(much=os.urandom(2_000_000)),
        lambda shop: (
            [node.fail(ZeroDivisionError()) for node in shop.nodes.values()],
            session["a"],
        ),
    ],
    ids=["in the end", "with a new id", "in between", "too large", "in a store"],
)
def test_no_variable_of_a_request_that_fails_shows_the_session_id_or_the_cookie(fail):
    shop = make_app()
    shop.do(lambda: session.update(a=1))
    cookie = shop.cookie()

    with pytest.raises((TypeError, ZeroDivisionError)) as caught:
        shop.do(lambda: fail(shop))

    shown = list(variables(caught.value))
    assert shown
    assert not [text for text in shown if cookie.partition(".")[0] in text]
