"""What the dashboard has to know of the settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol


class Options(Protocol):
    """The part of ``flask_msm.settings.settings.Settings`` that is meant for the dashboard."""

    @property
    def admin_url(self) -> str:
        """Where it is."""

    @property
    def admin_access(self) -> Callable[..., Any] | str | None:
        """Who may do what: asked with each request."""

    @property
    def admin_trusted_origins(self) -> tuple[str, ...]:
        """Origins that may send changes besides its own."""

    @property
    def admin_health_public(self) -> bool:
        """Whether the health page is open."""

    @property
    def admin_hide_addresses(self) -> bool:
        """Whether nodes are shown by id only."""

    @property
    def admin_hide_errors(self) -> bool:
        """Whether texts of errors are left out."""
