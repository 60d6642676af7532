"""The tables people read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .cells import CELLS
from .contenders import NONE, THEIRS, THEIRS_QUIET
from .measure import BLOCK


if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .cells import Cell
    from .contenders import Contender
    from .results import Results

_FIRST = 24
_TIMES, _RATIOS = 20, 22

_WITHOUT_PAUSE = (
    "Time that sessions add to a request, asked without pause: quickest of interleaved blocks of"
    f" {BLOCK}, in microseconds\n"
)
_WHICH_IS_FAIR = """\
The goals are ratios to Flask-Session as it is by default, with SESSION_REFRESH_EACH_REQUEST: it
reads and stores the session on every request, touched or not, and that is what people run. With
that switched off it stores what was changed, and no more: the cookie of a permanent session is not
sent again, and a session that is only read ends PERMANENT_SESSION_LIFETIME after its last change;
ours is refreshed then, once per tenth of its life. Either way Flask-Session keeps one copy, and of
two parallel writers the later one wins. The last table of ratios is the harder comparison, and not
the one that the goals are about.
"""


def report(results: Results) -> str:
    """Return everything worth knowing about *results*."""
    return "\n".join(
        [
            _heading(results),
            _WITHOUT_PAUSE,
            _table(
                results.contenders[1:],
                lambda cell, name: f"{results.groups[cell.name].added_in_blocks(name, NONE):.1f}",
            ),
            "Time that sessions add to a request, asked in turns: medians in microseconds\n",
            _table(results.contenders, lambda cell, name: _time(results, cell, name)),
            "Processor time, with what is done behind the response: medians in microseconds\n",
            _table(
                results.contenders[1:],
                lambda cell, name: f"{results.added_processor(cell.name, name):.1f}",
            ),
            "Waits for replies in one request\n",
            _table(results.contenders[1:], lambda cell, name: str(results.waits[cell.name][name])),
            "Operations of one request, counted by memcached\n",
            _table(results.contenders[1:], lambda cell, name: _operations(results, cell, name)),
            "Calls of Python functions that sessions add to a request, libraries included\n",
            _table(
                results.contenders[1:], lambda cell, name: str(results.added_calls(cell.name, name))
            ),
            "Limits: nothing but round trips, nothing but system calls; medians in microseconds\n",
            *(
                f"{one.label:{_FIRST + _TIMES}}{results.limit(one.name):6.1f}"
                for one in results.limits
            ),
            "",
            "Ratios to Flask-Session (default), asked without pause; goals in brackets\n",
            _ratios(results, THEIRS, results.ratio_in_blocks, _judged),
            "Ratios to Flask-Session (default), asked in turns\n",
            _ratios(results, THEIRS, results.ratio, _plain),
            "Ratios to Flask-Session (no refresh), asked without pause, for comparison only\n",
            _ratios(results, THEIRS_QUIET, results.ratio_in_blocks, _plain),
            _WHICH_IS_FAIR,
            _summary(results),
        ]
    )


def _heading(results: Results) -> str:
    facts = results.environment()
    size, requests, browsers = (
        facts.pop(name) for name in ("session_bytes", "requests", "browsers")
    )
    versions = ", ".join(f"{name} {version}" for name, version in facts.items())
    sessions = "1 browser" if browsers == 1 else f"{browsers} browsers"
    return (
        f"{versions}\n{requests} requests of each kind to each contender, interleaved, "
        f"by {sessions}; a session of {size} bytes (as JSON)\n"
    )


def _table(
    columns: Sequence[Contender], text: Callable[[Cell, str], str], width: int = _TIMES
) -> str:
    lines = [
        " " * _FIRST + "".join(f"{column.label[line]:>{width}}" for column in columns)
        for line in range(2)
    ]
    for cell in CELLS:
        texts = (text(cell, column.name) for column in columns)
        lines.append(f"{cell.label:{_FIRST}}" + "".join(f"{one:>{width}}" for one in texts))
    return "\n".join(lines) + "\n"


def _time(results: Results, cell: Cell, name: str) -> str:
    return f"{results.bare(cell.name) if name == NONE else results.added(cell.name, name):.1f}"


def _operations(results: Results, cell: Cell, name: str) -> str:
    counted = results.counted[cell.name][name]
    return " + ".join(f"{number:g} {kind}" for kind, number in counted.items() if number) or "-"


def _ratios(
    results: Results,
    to: str,
    ratio: Callable[[str, str, str], float],
    text: Callable[[Results, Cell, str, float], str],
) -> str:
    columns = [one for one in results.contenders if one.name not in {NONE, to}]
    return _table(
        columns,
        lambda cell, name: text(results, cell, name, ratio(cell.name, name, to)),
        _RATIOS,
    )


def _judged(results: Results, cell: Cell, name: str, ratio: float) -> str:
    met = results.verdicts().get((cell.name, name))
    if met is None:
        return f"{ratio:.3f}"
    return f"{ratio:.3f} ({cell.goals[name]:.2f}) {'met' if met else 'MISSED'}"


def _plain(results: Results, cell: Cell, name: str, ratio: float) -> str:
    del results, cell, name
    return f"{ratio:.3f}"


def _summary(results: Results) -> str:
    verdicts = results.verdicts()
    missed = [f"{cell} ({name})" for (cell, name), met in verdicts.items() if not met]
    text = f"Goals met: {len(verdicts) - len(missed)} of {len(verdicts)}."
    return f"{text} Missed: {', '.join(missed)}." if missed else text
