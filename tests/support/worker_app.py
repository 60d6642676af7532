"""The application that integration tests run in real worker processes."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path

from flask import Flask, request, session

from flask_msm import MemcachedSessionManager, destroy, regenerate
from flask_msm_dashboard import Access


manager = MemcachedSessionManager()


def create_app() -> Flask:
    app = Flask("worker")
    app.config.update(json.loads(os.environ["WORKER_CONFIG"]))
    # What JSON cannot hold.
    app.config.setdefault("MSM_ADMIN_ACCESS", lambda _: Access("read", "test"))
    manager.init_app(app)

    @app.get("/pid")
    def pid():
        return str(os.getpid())

    @app.post("/set")
    def set_values():
        """Set what is posted; between reading and writing, be slow or wait for a file."""
        values = request.get_json()
        session.get("anything")
        time.sleep(float(request.args.get("slow", 0)))
        if gate := request.args.get("gate"):
            Path(gate, "began").touch()
            deadline = time.monotonic() + 60
            while not Path(gate, "go on").exists() and time.monotonic() < deadline:
                time.sleep(0.01)
        session.update(values)
        return dict(session)

    @app.post("/append/<name>")
    def append(name):
        session.setdefault(name, []).append(request.get_json())
        return dict(session)

    @app.post("/fill/<int:size>")
    def fill(size):
        session["big"] = os.urandom(size)
        return "ok"

    @app.get("/get")
    def get():
        return dict(session)

    @app.get("/untouched")
    def untouched():
        return "ok"

    @app.post("/regenerate")
    def renew():
        regenerate()
        return "ok"

    @app.post("/logout")
    def logout():
        destroy()
        return "ok"

    @app.get("/sid")
    def sid():
        return session.sid or ""

    @app.post("/unserializable/<name>")
    def set_unserializable(name):
        """Set what is posted, and beside it a value that cannot be stored."""
        session.update(request.get_json())
        session[name] = [1, {"lock": threading.Lock(), "card": "4111111111111111"}]
        return {"pid": os.getpid()}

    @app.post("/unserializable/<int:first>/<int:count>")
    def set_many(first, count):
        """Set attributes that cannot be stored, each under another name."""
        for number in range(first, first + count):
            session[f"name {number}"] = threading.Lock()
        return {"pid": os.getpid()}

    @app.get("/obeys")
    def obeys():
        """Return who answers, and what holds for it."""
        time.sleep(float(request.args.get("slow", 0)))
        state = manager.state()
        policy = state.repository.serialization.policy.name
        return {"pid": os.getpid(), "policy": policy, "mode": state.mode}

    @app.get("/shown")
    def shown():
        """Return what the session holds, as JSON has it, and who answers."""
        time.sleep(float(request.args.get("slow", 0)))
        values = json.loads(json.dumps(dict(session), default=lambda value: type(value).__name__))
        return {"pid": os.getpid(), "values": values}

    @app.get("/where")
    def where():
        info = manager.describe(session)
        return {"homes": info.home_nodes, "holders": info.holders, "ref": info.ref}

    return app
