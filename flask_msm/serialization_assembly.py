"""Puts together what deals with attributes that cannot be stored."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

from flask_msm.sessions.blacklist import Blacklist
from flask_msm.sessions.live_objects import LiveObjects
from flask_msm.sessions.pins import Pins
from flask_msm.sessions.serialization import Listeners, Serialization

from .policies import PolicyInForce


if TYPE_CHECKING:
    from collections.abc import Callable

    from flask_msm.cluster.events import Events

    from .needs import Needs


def assemble_serialization(
    needs: Needs, events: Events, *, worker: Callable[[], str] | None
) -> Serialization:
    """Return what an application does about attributes that cannot be stored.

    Args:
        needs: What the application brings.
        events: Where it is said.
        worker: Returns the name of this worker in the fleet, if there is one.
    """
    settings, clock = needs.settings, needs.clock
    name = worker or _process
    return Serialization(
        policy=PolicyInForce(lambda: settings.serialization_policy, custom=needs.policy),
        blacklist=Blacklist(clock, name),
        kept=Blacklist(clock, name),
        pins=Pins(settings.blacklist),
        live=LiveObjects(clock),
        attribute_filter=settings.attribute_filter,
        clock=clock,
        listeners=Listeners(
            say=events.add, blacklisted=needs.blacklisted, stop_distribution=lambda _: None
        ),
    )


def _process() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"
