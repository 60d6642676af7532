"""The shelf and the cart."""

from __future__ import annotations

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from markupsafe import Markup
from werkzeug.wrappers import Response

from example_app import cart
from example_app.catalogue import BY_SKU, THINGS, Thing


blueprint = Blueprint("shop", __name__)


@blueprint.get("/")
def shelf() -> str:
    """Show everything there is."""
    return render_template("shelf.html", things=THINGS)


@blueprint.get("/cart")
def show_cart() -> str:
    """Show what is in the cart."""
    rows = cart.rows()
    return render_template(
        "cart.html",
        rows=rows,
        total=sum(row.cents for row in rows),
        ordered_at=cart.ordered_at(),
        most=cart.MOST_OF_ONE,
    )


@blueprint.post("/cart/add")
def add() -> Response:
    """Put one thing into the cart."""
    thing = _chosen_thing()
    cart.add(thing)
    link = Markup('<a href="{}">cart</a>').format(url_for("shop.show_cart"))
    flash(Markup("{} is in your {}.").format(thing.name, link))
    return redirect(url_for("shop.shelf", _anchor=thing.sku), code=303)


@blueprint.post("/cart/change")
def change() -> Response:
    """Set how many of one thing are in the cart."""
    quantity = request.form.get("quantity", type=int)
    if quantity is None or quantity < 0:
        abort(400, "How many? That was not a number from 0 up.")
    cart.change(_chosen_thing(), quantity)
    return redirect(url_for("shop.show_cart"), code=303)


@blueprint.post("/cart/order")
def order() -> Response:
    """Place the order: here that only empties the cart."""
    ordered = cart.order()
    if ordered:
        flash(f"Thank you! {ordered} thing{'s' if ordered > 1 else ''} would be on the way.")
    return redirect(url_for("shop.show_cart"), code=303)


def _chosen_thing() -> Thing:
    thing = BY_SKU.get(request.form.get("sku", ""))
    if thing is None:
        abort(404, "There is no such thing on the shelf.")
    return thing
