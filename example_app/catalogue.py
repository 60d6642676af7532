"""What the shop sells."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Thing:
    """One thing on the shelf.

    Attributes:
        sku: Its name in addresses, carts and ``static/things.svg``.
        cents: Its price in euro cents.
    """

    sku: str
    name: str
    about: str
    cents: int


THINGS = (
    Thing("flask", "Thermos flask", "Steel, half a litre. Hot until the evening.", 3450),
    Thing("mug", "Enamel mug", "Chips with dignity, never breaks.", 1400),
    Thing("tin", "Tea tin", "Double lid, so that tea stays tea.", 1250),
    Thing("jar", "Preserving jar", "One litre of last summer.", 690),
    Thing("notebook", "Notebook", "Stitched, dotted, 192 pages.", 1580),
    Thing("lantern", "Storm lantern", "Stays lit when the wind changes.", 4200),
    Thing("blanket", "Wool blanket", "Outlives the sofa under it.", 8900),
    Thing("basket", "Willow basket", "Woven by hand, carries it all home.", 3800),
)

BY_SKU = {thing.sku: thing for thing in THINGS}
