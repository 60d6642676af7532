"""Stands behind a session in memory and counts what is asked of it."""

from __future__ import annotations

import copy

from flask_msm.sessions.session import Contents


SID = "s" * 43
DATA = {"name": "anna", "cart": {"items": [1, 2]}}


class Backing:
    """Stands behind a session and counts what is asked of it."""

    sid = SID
    ref = "0123456789"
    is_local = False

    def __init__(self, values=DATA, *, detached=False, permanent=False):
        self.values = copy.deepcopy(dict(values))
        self.stored = copy.deepcopy(self.values)
        self.detached = detached
        self.token_permanent = self.cookie_permanent = permanent
        self.request = self.tracker = self
        self.loads = 0
        self.rebased = 0

    def begin_anew(self):
        pass

    def load(self):
        self.loads += 1
        return Contents(dict(self.values), detached=self.detached)

    def save(self, session):
        pass

    def rebase(self, session):
        self.rebased += 1
        self.stored = copy.deepcopy(session._peek())

    def differs(self, values):
        return any(self.stored.get(name) != value for name, value in values.items())

    def regenerate(self):
        pass

    def destroy(self):
        pass
