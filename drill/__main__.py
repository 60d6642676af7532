"""``python -m drill``."""

from __future__ import annotations

import argparse
import logging
import os
import secrets
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from harness.haproxy import haproxy

from . import report
from .acts import ACTS, SHORT, TOGETHER
from .earlier import has_earlier
from .play import Played, play, stage_of
from .soak import PAUSE as CALM
from .soak import soak
from .visitor import PAUSE


if TYPE_CHECKING:
    from .stage import Stage


def main() -> int:
    """Play the acts, print the table, return the exit status."""
    arguments = _arguments()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    # Log lines of the library in this process are about actions of an operator in an act.
    logging.getLogger("flask_msm").addHandler(logging.NullHandler())
    played: list[Played] = []
    try:
        if arguments.soak:
            return soak(
                arguments.soak,
                arguments.seed,
                fault=arguments.seconds,
                visitors=arguments.visitors,
                logs=arguments.logs,
            )
        for group in arguments.acts or (SHORT if arguments.short else tuple(ACTS)):
            names = group.split(TOGETHER)
            if missing := lacking(names[0]):
                print(f"{group} ... skipped: {missing}", file=sys.stderr, flush=True)
                continue
            with stage_of(
                ACTS[names[0]],
                tls=arguments.tls,
                encrypted=arguments.encrypted,
                fast_path=not arguments.no_fast_path,
            ) as stage:
                for name in names:
                    print(f"{ACTS[name].title} ...", end=" ", file=sys.stderr, flush=True)
                    with _logs_kept(stage, arguments.logs, name) as went:
                        one = play(
                            name,
                            ACTS[name],
                            stage,
                            seconds=arguments.seconds,
                            visitors=arguments.visitors,
                            judge_times=not arguments.any_speed,
                            pause=CALM if arguments.any_speed else PAUSE,
                        )
                        went.append(one)
                    print("well" if one.is_well else "NOT WELL", file=sys.stderr, flush=True)
                    played.append(one)
    # What was waited for did not come, or something is not installed.
    except AssertionError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return _tell(played, arguments)


@contextmanager
def _logs_kept(stage: Stage, folder: Path | None, name: str) -> Iterator[list[Played]]:
    """Keep the logs of an act in *folder* unless what the block yields went well."""
    went: list[Played] = []
    try:
        yield went
    finally:
        if folder and not (went and went[0].is_well):
            stage.keep_logs(folder / name)


def lacking(name: str) -> str | None:
    """Return what this machine does not have for an act."""
    earlier = ACTS[name].earlier
    if earlier and not has_earlier(earlier):
        return "no history of the project"
    return None


def _tell(played: list[Played], arguments: argparse.Namespace) -> int:
    notes = _notes(played)
    secured = [
        *(["the nodes speak TLS"] if arguments.tls else []),
        *(["records are encrypted"] if arguments.encrypted else []),
        *(["no request takes the fast path"] if arguments.no_fast_path else []),
    ]
    notes += [f"{', '.join(secured)}."] if secured else []
    table = report.markdown if arguments.markdown else report.text
    print(table(played, notes))
    if arguments.json:
        arguments.json.write_text(report.as_json(played, notes), encoding="utf-8")
    if all(one.is_well for one in played):
        print("\nNothing was lost and nothing failed.", file=sys.stderr)
        return 0
    print(f"\n{report.complaints(played)}", file=sys.stderr)
    return 1


def _notes(played: list[Played]) -> list[str]:
    """Return how it was played, where that differs from machine to machine."""
    which = "HAProxy" if haproxy() else "a small one of the drill (HAProxy is not installed)"
    notes = [f"balancer: {which}; processors: {os.cpu_count()}."]
    remarks = {one.remark for one in played if one.remark}
    notes += [f"{remark}." for remark in sorted(remarks)]
    late = sum(one.late for one in played)
    return notes + ([f"seen late by a parallel tab: {late}."] if late else [])


def _interrupt(number: int, frame: FrameType | None) -> None:
    """End everything that was started, once: nothing may disturb that."""
    del number, frame
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m drill", description="Break everything while people click."
    )
    parser.add_argument("--short", action="store_true", help=f"only {', '.join(SHORT)}")
    parser.add_argument(
        "--acts", type=_acts, metavar="A,B", help=f"some of {', '.join(ACTS)}; A+B: on one stage"
    )
    parser.add_argument(
        "--soak",
        type=float,
        metavar="SECONDS",
        help="faults at random for so long instead of acts; memory, descriptors and threads of"
        " workers are compared",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=secrets.randbelow(2**32),
        metavar="N",
        help="of the faults of a soak (default: another one each time)",
    )
    parser.add_argument(
        "--any-speed",
        action="store_true",
        help="print times and judge none, and have people click less often, for a machine that does"
        " other work beside",
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=2.0,
        metavar="S",
        help="seconds a fault lasts (default: %(default)s)",
    )
    parser.add_argument(
        "--visitors",
        type=int,
        default=6,
        metavar="N",
        help="browsers that click (default: %(default)s)",
    )
    parser.add_argument("--tls", action="store_true", help="nodes speak TLS (memcached -Z)")
    parser.add_argument("--encrypted", action="store_true", help="records are encrypted")
    parser.add_argument("--no-fast-path", action="store_true", help="MSM_FAST_PATH is off")
    parser.add_argument(
        "--logs", type=Path, metavar="FOLDER", help="keep what sites logged in acts that went wrong"
    )
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything there")
    return parser.parse_args()


def _acts(text: str) -> tuple[str, ...]:
    groups = tuple(text.split(","))
    for group in groups:
        names = group.split(TOGETHER)
        for name in names:
            if name not in ACTS:
                message = f"there is no act {name!r}; there are {', '.join(ACTS)}"
                raise argparse.ArgumentTypeError(message)
            if ACTS[name].stage() != ACTS[names[0]].stage():
                message = f"{name} and {names[0]} need different stages"
                raise argparse.ArgumentTypeError(message)
    return groups


if __name__ == "__main__":
    sys.exit(main())
