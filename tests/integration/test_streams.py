"""What a response that is streamed may do with its session, over real memcached."""

from __future__ import annotations

import pytest
from flask import Flask, Response, session, stream_with_context
from support.patience import PATIENT

from flask_msm import MemcachedSessionManager, regenerate
from harness.memcached import addresses


@pytest.fixture
def client(memcached):
    app = Flask("shop", static_folder=None)
    app.config.update(SECRET_KEY="stream " * 6, MSM_NODES=addresses([memcached(), memcached()]))
    app.config.update(MSM_ADMIN=False, MSM_REGENERATE_GRACE=0, TESTING=True, **PATIENT)
    manager = MemcachedSessionManager(app)

    @app.get("/sign-in")
    def sign_in():
        session["user"] = "anna"
        return "ok"

    @app.get("/stream")
    def stream():
        def parts():
            yield "begun, "
            session["seen"] = 1
            try:
                regenerate()
            except RuntimeError as error:
                yield str(error)
            session.save()

        return Response(stream_with_context(parts()))

    @app.get("/user")
    def user():
        return f"{session.get('user')} {session.get('seen')}"

    yield app.test_client()
    manager.close(app)


def test_a_stream_that_asks_for_a_new_id_is_refused_and_signs_no_user_out(client):
    client.get("/sign-in")

    answer = client.get("/stream").text

    assert client.get("/user").text == "anna 1"
    assert answer.startswith("begun, regenerate() comes too late")
