"""What the containers run: settings come from the environment (``FLASK_MSM_NODES`` and so on)."""

from __future__ import annotations

from flask import Flask, session

from flask_msm import MemcachedSessionManager


app = Flask(__name__)
app.config.from_prefixed_env()
MemcachedSessionManager(app)


@app.get("/")
def count() -> str:
    """Count the visits of one browser."""
    session["visits"] = session.get("visits", 0) + 1
    return f"{session['visits']} visits\n"
