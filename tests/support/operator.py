"""The operator of real workers: ``MSM_ADMIN_ACCESS = "support.operator:anna"``.

A module of its own, so that workers without a dashboard do not import Flask-Admin.
"""

from __future__ import annotations

import os

from flask_msm.operations import observer, slowness
from flask_msm_dashboard import Access, action_views, context


#: Environment variable with the time in seconds between two polls of a page, and between two looks
#: of a worker at what the others report.
POLL = "DASHBOARD_POLL"
ANNA = "support.operator:anna"


def anna(request):
    """Let every request do everything, under this name."""
    return Access("write", "anna.k")


if POLL in os.environ:
    context.POLL = context.POLL_SLOWLY = observer.REFRESH = float(os.environ[POLL])
    # A machine that is busy makes no node slow.
    slowness.SLOW = 5.0
    # What is done on a page of one worker is not too fast after the same on one of another.
    action_views._FLEET_PAUSE = 0.0
