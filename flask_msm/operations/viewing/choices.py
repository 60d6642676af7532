"""What operators may change at run time: what holds, and who chose it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask_msm.operations import snapshot as doc


if TYPE_CHECKING:
    from flask_msm.operations.report_reader import SettingView


def fixed(value: str) -> doc.Choice:
    """Return a choice that cannot be made here."""
    return doc.Choice(value=value, configured=value)


def choice_of(setting: SettingView) -> doc.Choice:
    """Return what holds for a setting."""
    chosen = setting.choice
    # A choice that was taken back has no value; its stamp counts.
    made = chosen.value is not None
    return doc.Choice(
        value=setting.value,
        configured=setting.configured,
        set_by=chosen.who or None if made else None,
        set_at=chosen.at if made else None,
        reason=chosen.why or None if made else None,
        stamp=str(chosen.stamp),
        applied_by=setting.applied,
        of=setting.of,
    )
