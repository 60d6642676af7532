"""Writes ``docs/configuration.md`` from the settings themselves, so that it cannot drift.

Run ``python docs/settings_page.py``; ``--check`` only says whether the page is up to date.
"""

from __future__ import annotations

import sys
from pathlib import Path

from flask_msm.settings.settings import setting_docs


PAGE = Path(__file__).with_name("configuration.md")

INTRODUCTION = """\
# Settings

Read from `app.config` when `init_app` is called, and nowhere else; a wrong value or an unknown
`MSM_` key is a `ConfigError` that names the key, the value and what is allowed. Booleans may be
`true/false`, `yes/no`, `on/off`, `1/0` in any case, numbers may be text, durations are seconds or
a `timedelta`. Blank text means the default.

Flask's own settings keep their meaning: `SECRET_KEY`, `SECRET_KEY_FALLBACKS`,
`PERMANENT_SESSION_LIFETIME`, `SESSION_REFRESH_EACH_REQUEST` and `SESSION_COOKIE_*`.

| key | default | allowed | meaning |
|---|---|---|---|
"""


def page() -> str:
    """Return the page."""
    rows = []
    for doc in setting_docs():
        cells = (f"`{doc.key}`", f"`{doc.default}`", doc.allowed, doc.help)
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n")
    return INTRODUCTION + "".join(rows)


def main() -> int:
    """Write the page, or check it."""
    if "--check" in sys.argv:
        return 0 if PAGE.read_text(encoding="utf-8") == page() else 1
    PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
