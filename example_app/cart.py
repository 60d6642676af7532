"""The cart: a list of small dictionaries inside one session attribute.

Every change here is made in place, deep inside ``session["cart"]``, and nothing ever sets
``session.modified``: the extension notices by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypedDict

from flask import session

from example_app.catalogue import BY_SKU, Thing


MOST_OF_ONE = 99


class Line(TypedDict):
    """One line as it is kept in the session."""

    sku: str
    quantity: int


@dataclass(frozen=True, slots=True)
class Row:
    """One line as a page shows it."""

    thing: Thing
    quantity: int

    @property
    def cents(self) -> int:
        """What the line costs."""
        return self.thing.cents * self.quantity


def rows() -> list[Row]:
    """Return what is in the cart, without making one."""
    known = (line for line in _lines() if line["sku"] in BY_SKU)
    return [Row(BY_SKU[line["sku"]], line["quantity"]) for line in known]


def count() -> int:
    """Return how many things are in the cart."""
    return sum(row.quantity for row in rows())


def add(thing: Thing) -> None:
    """Put one more of *thing* into the cart."""
    if "cart" not in session:
        session["cart"] = {"items": []}
    for line in session["cart"]["items"]:
        if line["sku"] == thing.sku:
            line["quantity"] = min(line["quantity"] + 1, MOST_OF_ONE)
            return
    session["cart"]["items"].append({"sku": thing.sku, "quantity": 1})


def change(thing: Thing, quantity: int) -> None:
    """Set how many of *thing* there are; none takes it out."""
    lines = _lines()
    for line in lines:
        if line["sku"] == thing.sku:
            line["quantity"] = min(quantity, MOST_OF_ONE)
    lines[:] = [line for line in lines if line["quantity"] > 0]


def order() -> int:
    """Empty the cart, remember when, and return how many things were in it."""
    ordered = count()
    if ordered:
        session["cart"]["items"].clear()
        session["cart"]["ordered_at"] = datetime.now(UTC)
    return ordered


def ordered_at() -> datetime | None:
    """Return when the last order was placed; a datetime comes back as a datetime."""
    at: datetime | None = session.get("cart", {}).get("ordered_at")
    return at


def _lines() -> list[Line]:
    lines: list[Line] = session.get("cart", {}).get("items", [])
    return lines
