"""Sign in and sign out: a name is enough here, there is no password to get wrong."""

from __future__ import annotations

from flask import Blueprint, flash, redirect, render_template, request, session, url_for
from werkzeug.wrappers import Response

from example_app import csrf
from flask_msm import destroy, regenerate


blueprint = Blueprint("account", __name__)

LONGEST_NAME = 40


@blueprint.get("/sign-in")
def ask_name() -> str:
    """Ask who is there."""
    return render_template("sign_in.html", longest=LONGEST_NAME)


@blueprint.post("/sign-in")
def sign_in() -> Response:
    """Remember the name, under a new session id."""
    name = " ".join(request.form.get("name", "").split())[:LONGEST_NAME]
    if not name:
        flash("A name is needed, any name.")
        return redirect(url_for("account.ask_name"), code=303)
    # Who may have seen the old cookie must not be signed in with it: the session gets a new
    # id and keeps what is in it, the cart for example.
    regenerate()
    session.pop(csrf.FIELD, None)
    session["name"] = name
    session.permanent = True
    flash(f"Welcome, {name}.")
    return redirect(url_for("shop.shelf"), code=303)


@blueprint.post("/sign-out")
def sign_out() -> Response:
    """End the session; a request that is still under way cannot bring it back."""
    destroy()
    return redirect(url_for("account.signed_out"), code=303)


@blueprint.get("/signed-out")
def signed_out() -> str:
    """Say goodbye, without starting a new session for it."""
    return render_template("signed_out.html")
