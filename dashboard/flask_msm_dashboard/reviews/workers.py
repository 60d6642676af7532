"""Before something is done with a worker."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask_msm.errors import CommandError

from ..texts import _
from .review import Form, Review


if TYPE_CHECKING:
    from flask_msm.snapshot import Snapshot


def forget_review(snapshot: Snapshot, form: Form) -> Review:
    """Return what follows from forgetting a worker."""
    for worker in snapshot.workers:
        if worker.id == form.get("worker"):
            return Review(
                title=_("Forget {name}?", name=worker.id),
                points=[_("It is not shown any more. If it still lives, it comes back.")],
                submit=_("Forget it"),
                reason=False,
                hidden=(("worker", worker.id),),
            )
    raise CommandError(_("There is no such worker."))
