"""The page for breaking things, to see in a second window that users do not notice."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, cast

from flask import Blueprint, abort, current_app, flash, redirect, render_template, session, url_for


if TYPE_CHECKING:
    from werkzeug.wrappers import Response

    from example_app.place import Place


blueprint = Blueprint("breaking", __name__)

SIGNALS = {
    "kill": (signal.SIGKILL, "was killed"),
    "hang": (signal.SIGSTOP, "hangs: it accepts connections and never answers"),
    "go-on": (signal.SIGCONT, "goes on, with the data of before"),
}
#: Seconds to wait for what the launcher does, so that the next page shows it.
PATIENCE = 3.0


@blueprint.get("/break")
def show() -> str:
    """Show what can be broken."""
    place = _place()
    pids = [(node, pid_of(place, node.id)) for node in place.nodes]
    nodes = [(node, pid, hangs(pid)) for node, pid in pids]
    return render_template("breaking.html", nodes=nodes, breakable=place.control is not None)


@blueprint.post("/break/<node_id>/<what>")
def do(node_id: str, what: str) -> Response:
    """Do something to a node the launcher started."""
    place = _place()
    known = {node.id for node in place.nodes}
    if node_id not in known or what not in {"restart", *SIGNALS} or place.control is None:
        abort(404)
    pid = pid_of(place, node_id)
    # A click in another window, or the same one twice, may have come before.
    if pid is None and what != "restart":
        flash(f"{node_id} has ended already.")
    elif pid is not None and what == "restart":
        flash(f"{node_id} runs already.")
    elif pid is None:
        # Its parent is the launcher, and only a parent can tell when a process has ended.
        Path(place.control, f"{node_id}.restart").touch()
        _wait(place, node_id, running=True)
        flash(f"{node_id} is started again, without its data.")
    else:
        number, text = SIGNALS[what]
        with suppress(ProcessLookupError):
            os.kill(pid, number)
        if what == "kill":
            _wait(place, node_id, running=False)
        flash(f"{node_id} {text}.")
    return redirect(url_for("breaking.show"))


@blueprint.post("/break/session")
def store_a_lock() -> Response:
    """Store something in the session that no other process could use."""
    session["lock"] = threading.Lock()
    flash("A lock was put into the session; what becomes of it is decided by the failure policy.")
    return redirect(url_for("breaking.show"))


def pid_of(place: Place, node_id: str) -> int | None:
    """Return the process of a node that was started here, ``None`` when there is none."""
    if place.control is None:
        return None
    try:
        return int(Path(place.control, f"{node_id}.pid").read_text())
    except (OSError, ValueError):
        return None


def _wait(place: Place, node_id: str, *, running: bool) -> None:
    end = time.monotonic() + PATIENCE
    while (pid_of(place, node_id) is not None) is not running and time.monotonic() < end:
        time.sleep(0.05)


def hangs(pid: int | None) -> bool:
    """Return whether a process is stopped, read from ``/proc``."""
    try:
        # The state follows the name of the program, which is in parentheses.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].startswith("T")
    except OSError:
        return False


def _place() -> Place:
    return cast("Place", current_app.extensions["example_place"])
