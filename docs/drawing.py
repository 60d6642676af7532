"""Draws the diagrams of the pages as SVG: the part of Mermaid that they use.

GitHub draws Mermaid itself; the built site gets pictures that need no script and nothing from
elsewhere. Understood are ``sequenceDiagram`` with ``participant``, ``->>``, ``-->>`` and ``Note
over``, and ``stateDiagram-v2`` with ``-->``; any other line is an error.
"""

from __future__ import annotations

import re
from html import escape
from textwrap import wrap


#: All lengths are pixels.
CHARACTER, LINE, PAD = 6.9, 17, 10
_STYLE = (
    "<style>text{font:13px sans-serif;fill:currentColor}"
    "path,line,rect{stroke:currentColor;fill:none}"
    ".note,.back{fill:var(--color-background-primary,#fff)}.back{stroke:none}"
    ".tip{fill:currentColor;stroke:none}.life{stroke-opacity:.3}.dashed{stroke-dasharray:5 4}"
    "</style>"
)


def drawn(source: str) -> str:
    """Return *source*, the text of a Mermaid block, as an SVG element."""
    kind, *lines = [line.strip() for line in source.strip().splitlines() if line.strip()]
    if kind == "sequenceDiagram":
        width, height, parts = _sequence(lines)
    elif kind == "stateDiagram-v2":
        width, height, parts = _states(lines)
    else:
        raise ValueError(f"not a kind of diagram that is drawn: {kind}")
    about = escape("; ".join(lines))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" width="{width:.0f}"'
        f' viewBox="0 0 {width:.0f} {height:.0f}"><title>Diagram</title><desc>{about}</desc>'
        f"{_STYLE}{''.join(parts)}</svg>"
    )


def _sequence(lines: list[str]) -> tuple[float, float, list[str]]:
    names: dict[str, str] = {}
    steps: list[tuple[str, ...]] = []
    for line in lines:
        if found := re.fullmatch(r"participant (\w+) as (.+)", line):
            names[found[1]] = found[2]
        elif (found := re.fullmatch(r"(\w+)(--?>>)(\w+): (.+)", line)) or (
            found := re.fullmatch(r"Note (over) (\w+)(?:,(\w+))?: (.+)", line)
        ):
            steps.append(tuple(group or "" for group in found.groups()))
        else:
            raise ValueError(f"not drawn: {line}")
    gap = 165.0
    at = {name: gap * (number + 0.5) for number, name in enumerate(names)}
    width, y = gap * len(names), 62.0
    parts: list[str] = []
    for step in steps:
        if step[0] == "over":
            first, last = at[step[1]], at[step[2] or step[1]]
            left, right = max(4, min(first, last) - 76), min(width - 4, max(first, last) + 76)
            texts = wrap(step[3], int((right - left - PAD) / CHARACTER))
            high = LINE * len(texts) + PAD
            parts.append(_box(left, y, right - left, high, "note"))
            parts += _texts(texts, (left + right) / 2, y + 18)
            y += high + 12
        else:
            y, more = _message(at[step[0]], at[step[2]], step[3], y, dashed=step[1] == "-->>")
            parts += more
    heads = [part for name, text in names.items() for part in _head(text, at[name], y)]
    return width, y + 6, heads + parts


def _message(
    begin: float, end: float, text: str, y: float, *, dashed: bool
) -> tuple[float, list[str]]:
    """Return how far down an arrow with its text reaches, and its parts."""
    texts = wrap(text, max(20, int((abs(end - begin) - PAD) / CHARACTER)))
    line = y + LINE * len(texts) + 2
    way = 1 if end > begin else -1
    style = ' class="dashed"' if dashed else ""
    middle, long = (begin + end) / 2, CHARACTER * max(map(len, texts))
    return line + 16, [
        _box(middle - long / 2, y, long, LINE * len(texts), "back"),
        *_texts(texts, middle, y + 12),
        f'<line x1="{begin:.0f}" y1="{line:.0f}" x2="{end - 7 * way:.0f}" y2="{line:.0f}"{style}/>',
        _tip(end, line, -8 * way),
    ]


def _head(text: str, x: float, bottom: float) -> list[str]:
    wide = CHARACTER * len(text) + 2 * PAD
    return [
        f'<line class="life" x1="{x:.0f}" y1="40" x2="{x:.0f}" y2="{bottom:.0f}"/>',
        _box(x - wide / 2, 8, wide, 32, "note"),
        *_texts([text], x, 29),
    ]


def _states(lines: list[str]) -> tuple[float, float, list[str]]:
    edges: list[tuple[str, str, str]] = []
    order: dict[str, int] = {}
    for line in lines:
        found = re.fullmatch(r"(\[\*\]|\w+) --> (\w+)(?:: (.+))?", line)
        if not found:
            raise ValueError(f"not drawn: {line}")
        for name in (found[1], found[2]):
            if name != "[*]":
                order.setdefault(name, len(order))
        if found[1] != "[*]":
            edges.append((found[1], found[2], found[3] or ""))
    middle, step, wide, high = 350.0, 92.0, 120.0, 34.0
    parts: list[str] = []
    labels: list[str] = []
    lanes = {1: 0, -1: 0}
    for begin, end, text in sorted(edges, key=lambda e: abs(order[e[1]] - order[e[0]])):
        side = 1 if order[end] > order[begin] else -1
        y1, y2 = (20 + order[name] * step + high / 2 + 5 * side for name in (begin, end))
        reach = middle + side * (wide / 2 + 34 + 34 * lanes[side])
        lanes[side] += 1
        edge = middle + side * wide / 2
        curve = f"C{reach:.0f} {y1:.0f} {reach:.0f} {y2:.0f} {edge + 7 * side:.0f} {y2:.0f}"
        parts += [f'<path d="M{edge:.0f} {y1:.0f}{curve}"/>', _tip(edge, y2, 8 * side)]
        x = edge + (reach - edge) * 0.75 + 6 * side
        anchor = "start" if side > 0 else "end"
        y, long = (y1 + y2) / 2, CHARACTER * len(text)
        labels.append(_box(x - 3 if side > 0 else x - long - 3, y - 9, long + 6, 18, "back"))
        place = f'x="{x:.0f}" y="{y + 4:.0f}" text-anchor="{anchor}"'
        labels.append(f"<text {place}>{escape(text)}</text>")
    for name, number in order.items():
        y = 20 + number * step
        parts.append(_box(middle - wide / 2, y, wide, high, "note"))
        parts += _texts([name], middle, y + 22)
    return 2 * middle, 20 + step * (len(order) - 1) + high + 14, parts + labels


def _box(x: float, y: float, wide: float, high: float, kind: str) -> str:
    return (
        f'<rect class="{kind}" x="{x:.0f}" y="{y:.0f}" width="{wide:.0f}" height="{high:.0f}"'
        ' rx="4"/>'
    )


def _texts(texts: list[str], x: float, y: float) -> list[str]:
    return [
        f'<text x="{x:.0f}" y="{y + LINE * number:.0f}" text-anchor="middle">{escape(text)}</text>'
        for number, text in enumerate(texts)
    ]


def _tip(x: float, y: float, dx: float) -> str:
    back = f"{x + dx:.0f}"
    return f'<path class="tip" d="M{x:.0f} {y:.0f}L{back} {y - 4:.0f}L{back} {y + 4:.0f}Z"/>'
