"""Icons, sparklines and bars as SVG made here: no script, no style, readable in both themes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from markupsafe import Markup


WIDTH, HEIGHT = 84, 22
_TOP, _BOTTOM = 3.0, 19.0
_FEWEST = 4
#: Less spread than this share of the value is not drawn larger, so noise looks like noise.
_LEAST_SPREAD = 0.3


def sparkline(values: Sequence[float | None], level: str = "", *, dead: bool = False) -> Markup:
    """Return a line through *values*, oldest first; gaps where they are ``None``.

    Args:
        values: At least four known ones, or nothing is drawn: fewer are no course of anything.
        level: ``warn`` or ``bad`` colour the line.
        dead: Whether what is missing at the end is drawn as an outage.
    """
    known = [value for value in values if value is not None]
    if len(known) < _FEWEST:
        return Markup("")
    low, high = min(known), max(known)
    spread = max(high - low, _LEAST_SPREAD * max(abs(high), abs(low)), 1e-9)
    middle = (high + low) / 2
    floor = max(0.0, middle - spread / 2) if low >= 0 else middle - spread / 2
    step = WIDTH / max(1, len(values) - 1)
    line: list[str] = []
    area: list[str] = []
    run: list[str] = []

    def finish() -> None:
        if run:
            line.append("M" + "L".join(run))
            first, last = run[0].split(" ")[0], run[-1].split(" ")[0]
            area.append(f"M{first} {HEIGHT}L{'L'.join(run)}L{last} {HEIGHT}Z")
            run.clear()

    end = 0.0
    for place, value in enumerate(values):
        if value is None:
            finish()
            continue
        end = place * step
        height = _BOTTOM - (value - floor) / spread * (_BOTTOM - _TOP)
        run.append(f"{end:.3g} {height:.3g}")
    finish()
    gone = ""
    if dead:
        begin = min(end, WIDTH - 18)
        gone = f'<path class="gone" d="M{begin:.3g} 20H{WIDTH}"/>'
    kind = f" {level}" if level in {"warn", "bad"} else ""
    # Numbers and two fixed words, nothing that could be markup.
    return Markup(  # noqa: S704
        f'<svg class="spark{kind}" viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none"'
        f' aria-hidden="true"><path class="area" d="{"".join(area)}"/>'
        f'<path class="line" d="{"".join(line)}"/>{gone}</svg>'
    )


@cache
def icon(name: str, size: str = "") -> Markup:
    """Return one of the shapes that stand in ``base.html``, for a word beside it.

    Args:
        name: ``ok``, ``warn``, ``bad``, ``off``, ``info`` or ``who``.
        size: ``big`` or nothing.
    """
    return Markup('<svg class="i {} {}" aria-hidden="true"><use href="#i-{}"/></svg>').format(
        name, size, name
    )


def bar(share: float | None, level: str = "") -> Markup:
    """Return a bar that is filled to *share*, a ratio."""
    if share is None:
        return Markup("")
    filled = max(0.0, min(1.0, share)) * 100
    kind = f" {level}" if level in {"warn", "bad"} else ""
    return Markup(  # noqa: S704
        f'<svg class="bar{kind}" viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect class="rail" width="100" height="6"/>'
        f'<rect class="fill" width="{filled:.3g}" height="6"/></svg>'
    )
