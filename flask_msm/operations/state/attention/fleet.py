"""What concerns the fleet as a whole."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from .. import facts
from ..texts import _, listed, plural
from .item import Item


if TYPE_CHECKING:
    from collections.abc import Iterator

    from flask_msm.operations.snapshot import Snapshot


def stopped(snapshot: Snapshot) -> Iterator[Item]:
    """Say who stopped distribution."""
    choice = snapshot.distribution
    if choice.value == "stopped":
        reason = choice.reason or _("none given")
        yield Item(
            level="off",
            code="stopped",
            title=_("Stopped by {name}", name=choice.set_by or _("the policy")),
            text=_("Reason: {reason}", reason=reason),
            since=choice.set_at,
            href="act/resume",
            link=_("Resume distribution"),
            hurt=_("Users whose requests reach another host: they look signed out there."),
            steps=(_("When the work is done: resume distribution."),),
        )


def disagreements(snapshot: Snapshot) -> Iterator[Item]:
    """Say where workers run or obey something else than the others."""
    versions = Counter(w.version for w in facts.living(snapshot) if w.version)
    if len(versions) > 1:
        words = [
            _("{version} ({n})", n=n, version=version) for version, n in versions.most_common()
        ]
        yield Item(
            level="info",
            code="versions",
            title=_("Workers run different versions"),
            text=listed(words),
            href="workers/",
            link=_("Workers"),
            hurt=_("No user."),
            steps=(_("Finish the deploy, or roll it back."),),
        )
    for name, choice in (
        (_("The failure policy"), snapshot.policy),
        (_("The choice for reconnects"), snapshot.on_reconnect),
        (_("The stop of distribution"), snapshot.distribution),
    ):
        k, n = choice.applied_by, choice.of
        late = choice.set_at is not None and snapshot.at - choice.set_at > 30
        if late and k is not None and n is not None and k < n:
            yield Item(
                level="warn",
                code="not_applied",
                title=_("{name} is applied by {k} of {n} workers", name=name, k=k, n=n),
                text=_("The others did not report it yet"),
                since=choice.set_at,
                href="policy/",
                link=_("Policy"),
                hurt=_("No user; the others do as before."),
                steps=(_("Look at the workers that are missing: they may reach no node."),),
            )


def partial(snapshot: Snapshot) -> Iterator[Item]:
    """Say when not all workers can be seen."""
    observer = snapshot.observer
    known, seen = observer.workers_known, observer.workers_seen
    if observer.source == "host" and snapshot.nodes:
        yield Item(
            level="info",
            code="partial",
            title=plural(
                seen, "{n} worker of this host is visible", "{n} workers of this host are visible"
            ),
            text=_("Others are reached through memcached, which does not answer"),
            since=snapshot.since,
            href="workers/",
            link=_("Workers"),
            hurt=_("No user by this alone."),
            steps=(_("Start the nodes again; look at the pages of the other hosts until then."),),
        )
    elif observer.source == "fleet" and known is not None and seen < known:
        yield Item(
            level="info",
            code="partial",
            title=_("{k} of {n} workers visible", k=seen, n=known),
            text=_("The others did not report yet"),
            href="workers/",
            link=_("Workers"),
            hurt=_("No user."),
            steps=(_("Wait some seconds; then look at the workers that are missing."),),
        )
