"""What is asked of every contender: one session content, five kinds of request, the goals."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any

from flask import session


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

#: About 300 bytes of what applications keep in a session.
CONTENT: dict[str, Any] = {
    "user_id": 48151,
    "name": "Ada Lovelace",
    "csrf_token": "5f3b9c1e7a2d4068b1c9e4f2a7d35068",
    "language": "en",
    "cart": [
        {"sku": "A-1815", "count": 1, "price": 1290},
        {"sku": "B-1843", "count": 2, "price": 450},
        {"sku": "C-1852", "count": 1, "price": 8900},
        {"sku": "D-1871", "count": 5, "price": 99},
        {"sku": "E-1906", "count": 3, "price": 2450},
    ],
    "last_page": "/shelf/00000000",
}

_pages = count(1)


def nothing() -> None:
    """Leave the session alone."""


def read() -> None:
    """Look at an attribute, and into another one."""
    if not session["user_id"] or session["cart"][0]["count"] < 1:
        message = "this is not the session that was stored"
        raise LookupError(message)


def write_the_same() -> None:
    """Assign what is there already."""
    session["language"] = "en"


def write() -> None:
    """Change one small attribute to a value it never had."""
    session["last_page"] = f"/shelf/{next(_pages):08d}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One kind of request.

    Attributes:
        name: On the command line, in JSON and in the path of the request.
        label: In tables.
        act: What the view does with the session.
        permanent: Whether the session is permanent, so that its cookie is sent again each time.
        goals: Largest ratio to Flask-Session, by contender.
    """

    name: str
    label: str
    act: Callable[[], None]
    permanent: bool = False
    goals: Mapping[str, float] = field(default_factory=dict)


CELLS = (
    Cell(
        name="untouched",
        label="untouched",
        act=nothing,
        goals={"ours-1": 0.05, "ours-2": 0.05},
    ),
    Cell(
        name="permanent",
        label="untouched, permanent",
        act=nothing,
        permanent=True,
        goals={"ours-1": 0.45, "ours-2": 0.45},
    ),
    Cell(
        name="read",
        label="reading",
        act=read,
        goals={"ours-1": 0.40, "ours-2": 0.40, "ours-sticky": 0.12},
    ),
    Cell(name="unchanged", label="writing what is there", act=write_the_same),
    Cell(
        name="write",
        label="writing",
        act=write,
        goals={"ours-1": 0.9, "ours-2": 1.0, "ours-sticky": 0.35},
    ),
)
