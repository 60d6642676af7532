"""Before something is done with a worker."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask_msm.errors import CommandError
from flask_msm.operations.state.formatting import cut
from flask_msm.operations.state.texts import _

from .confirmation import Confirmation, Form


if TYPE_CHECKING:
    from flask_msm.operations.snapshot import Snapshot


def forget_confirmation(_snapshot: Snapshot, form: Form) -> Confirmation:
    """Return what follows from forgetting a worker."""
    # This worker may not know it yet: the nodes hold the list of workers.
    name = form.get("worker")
    if not name:
        raise CommandError(_("There is no such worker."))
    return Confirmation(
        title=_("Forget {name}?", name=cut(name, 120)),
        points=[_("It is not shown any more. If it still lives, it comes back.")],
        submit=_("Forget it"),
        reason=False,
        hidden=(("worker", name),),
    )
