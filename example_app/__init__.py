"""A small shop that shows what the extension does: ``python -m example_app``."""

from __future__ import annotations

import os
from datetime import timedelta

from flask import Flask

from example_app import account, breaking, cart, csrf, pages, shop, whereabouts
from example_app.extensions import msm
from example_app.place import OPERATOR, Place
from flask_msm_dashboard import basic_auth


def create_app() -> Flask:
    """Build the shop; the environment sets where its sessions live (see ``Place``)."""
    place = Place.from_environ(os.environ)
    app = Flask(__name__)
    app.config.from_mapping(
        SECRET_KEY=place.secret_key,
        # Browsers share the cookies of 127.0.0.1 among all ports, so the name is its own.
        SESSION_COOKIE_NAME="keep_session",
        SESSION_COOKIE_SAMESITE="Lax",
        PERMANENT_SESSION_LIFETIME=timedelta(hours=8),
        MAX_CONTENT_LENGTH=16 * 1024,
    )
    if place.nodes:
        app.config["MSM_NODES"] = [f"{node.id}:{node.address}" for node in place.nodes]
    app.config["MSM_LOCAL_DIR"] = place.local_dir
    app.config["MSM_ENVIRONMENT"] = "demo"
    # Who starts a node again here watches for it; in production 30 seconds spare a dead one.
    app.config["MSM_PROBE_MAX_BACKOFF"] = 4
    if place.admin_hash:
        app.config["MSM_ADMIN_ACCESS"] = basic_auth({OPERATOR: place.admin_hash})
    msm.init_app(app)

    app.extensions["example_place"] = place
    for blueprint in (shop.blueprint, account.blueprint, whereabouts.blueprint, breaking.blueprint):
        app.register_blueprint(blueprint)
    csrf.protect(app)
    pages.decorate(app)
    app.jinja_env.globals.update(cart_count=cart.count)
    return app
