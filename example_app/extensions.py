"""The extension, made once and given an application in ``create_app``."""

from __future__ import annotations

from flask_msm import MemcachedSessionManager


msm = MemcachedSessionManager()
