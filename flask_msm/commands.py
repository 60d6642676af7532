"""What an operator can ask for: the public path of ``Console`` and ``Outcome``."""

from __future__ import annotations

from flask_msm.operations.console import Console, Outcome


__all__ = ["Console", "Outcome"]
