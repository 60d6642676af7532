"""Before something is done with attributes that cannot be stored."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from flask_msm.errors import CommandError
from flask_msm.operations.state.formatting import cut
from flask_msm.operations.state.texts import _, listed, plural

from .confirmation import Confirmation, reach


if TYPE_CHECKING:
    from flask_msm.operations.snapshot import Snapshot


#: Most attributes of one request.
_MOST_ATTRIBUTES = 200


def attributes_of(form: Any) -> list[str]:
    """Return the names of attributes a form carries, exactly as they are.

    They travel as JSON: browsers change line ends and drop characters in plain fields.
    """
    texts = form.getlist("attribute")
    if not texts or len(texts) > _MOST_ATTRIBUTES:
        raise CommandError(_("Choose at least one attribute."))
    try:
        names = [json.loads(text) for text in texts]
    except (ValueError, RecursionError):
        names = [None]
    if not all(isinstance(name, str) for name in names):
        raise CommandError(_("That is no name of an attribute."))
    return names


def clear_confirmation(_snapshot: Snapshot, form: Any) -> Confirmation:
    """Return what follows from clearing attributes from the blacklist."""
    names = attributes_of(form)
    quoted = listed([cut(name, 60) or "" for name in names], most=8)
    return Confirmation(
        title=plural(
            len(names),
            "Clear {n} attribute from the blacklist?",
            "Clear {n} attributes from the blacklist?",
        ),
        points=[
            quoted,
            _(
                "What was counted is forgotten. An attribute that still cannot be serialized comes"
                " back with its next failure. Pins stay."
            ),
        ],
        submit=_("Clear"),
        reason=False,
        hidden=tuple(("attribute", json.dumps(name)) for name in names),
    )


def pin_confirmation(snapshot: Snapshot, form: Any) -> Confirmation:
    """Return what follows from pinning an attribute."""
    name = attributes_of(form)[0]
    return Confirmation(
        title=_("Pin {name}?", name=cut(name, 60)),
        points=[
            _("It is stored as None from now on, without trying, also where it could be stored."),
            reach(snapshot),
        ],
        submit=_("Pin it"),
        danger=True,
        hidden=(("attribute", json.dumps(name)),),
    )


def unpin_confirmation(snapshot: Snapshot, form: Any) -> Confirmation:
    """Return what follows from unpinning an attribute."""
    name = attributes_of(form)[0]
    return Confirmation(
        title=_("Unpin {name}?", name=cut(name, 60)),
        points=[_("It is stored again, where it can be."), reach(snapshot)],
        submit=_("Unpin it"),
        reason=False,
        hidden=(("attribute", json.dumps(name)),),
    )
