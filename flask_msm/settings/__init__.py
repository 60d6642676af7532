"""The configuration of an application."""

from .settings import Settings, setting_docs


__all__ = ["Settings", "setting_docs"]
