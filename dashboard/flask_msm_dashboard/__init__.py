"""The operator's dashboard at ``/msm-admin``."""

from .access import Access
from .front import mount
from .sign_in import basic_auth, loopback_only


__all__ = ["Access", "basic_auth", "loopback_only", "mount"]
