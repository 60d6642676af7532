"""The newest report of each worker, from the nodes and from this host."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from flask_msm.cluster.reports import Report, note_name


if TYPE_CHECKING:
    from collections.abc import Iterable

    from flask_msm.cluster.nodes import NodeTable
    from flask_msm.cluster.reports import Reports
    from flask_msm.storage.local.store import LocalStore


class Collector(NamedTuple):
    """Asks for reports, also while no node answers: workers of this host leave theirs here."""

    reports: Reports
    table: NodeTable
    local: LocalStore

    @property
    def reaches_nodes(self) -> bool:
        """Whether a node may be asked now."""
        return any(view.rights.joined for view in self.table.view().values())

    def collect(self, workers: Iterable[str], deadline: float) -> dict[str, Report]:
        """Return the newest report of each of *workers* that can be found by *deadline*."""
        names = list(workers)
        found: dict[str, Report] = {}
        for name in names:
            data = self.local.get_blob(note_name(name))
            report = self.reports.open(name, data) if data else None
            if report is not None:
                found[name] = report
        if self.reaches_nodes:
            for name, report in self.reports.collect(names, deadline).items():
                if name not in found or report.stamp > found[name].stamp:
                    found[name] = report
        return found
