"""For programs: the state as JSON, as metrics, and a word for load balancers."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from flask import Response, request

from flask_msm.operations.state import facts
from flask_msm.operations.state.document import document
from flask_msm.operations.state.history_document import RANGES, history_document
from flask_msm.operations.state.texts import _, listed

from . import metrics
from .base import MsmView
from .context import DashboardContext
from .limits import Limits
from .responses import exposed, json_response


if TYPE_CHECKING:
    from flask_msm.operations.history import RangeName


#: Downloads of an operator that are written down.
_DOWNLOADS = Limits(pause=10.0, most=6)


class ApiView(MsmView):
    """Version 1 of what programs may rely on."""

    @exposed("/")
    def index(self) -> Response:
        """Say what there is."""
        base = self.context.base() + "api/v1/"
        return json_response(
            {name: base + name for name in ("state", "history", "metrics", "health")}
        )

    @exposed("/state")
    def state(self) -> Response:
        """Return the state document, or 304 if only clocks moved."""
        page = self.context.page()
        state = document(page.snapshot, poll_after=page.poll)
        # Programs find what pages link to.
        for item in state["attention"]:
            item["href"] = page.base + item["href"]
        response = json_response(state)
        response.set_etag(state["rev"], weak=True)
        response.headers["Cache-Control"] = "no-cache, private"
        if request.args.get("download"):
            response.headers["Content-Disposition"] = 'attachment; filename="sessions.json"'
            self._note_download(page.operator.name or "-")
        response.make_conditional(request)
        return response

    def _note_download(self, who: str) -> None:
        """Write a download down, seldom: any page can make a browser ask, as often as it likes."""
        elsewhere = request.headers.get("Sec-Fetch-Site") in {"cross-site", "same-site"}
        if request.method != "GET" or elsewhere:
            return
        if not self.context.limiter.take(f"exported:{who}", _DOWNLOADS):
            self.context.console.note("exported", _("diagnostics were downloaded"), actor=who)

    @exposed("/history")
    def history(self) -> Response:
        """Return what happened in the range the query asks for: ``15m``, ``24h`` or ``7d``."""
        name = request.args.get("range", "24h")
        if name not in RANGES:
            known = listed(list(RANGES))
            return self.refusal(400, _("There is no such range; there are {known}.", known=known))
        response = json_response(history_document(self.context.history(cast("RangeName", name))))
        response.headers["Cache-Control"] = "no-cache, private"
        return response

    @exposed("/metrics")
    def metrics(self) -> Response:
        """Return the state as Prometheus reads it."""
        if not metrics.is_available():
            return self.refusal(501, _("Install flask-msm[prometheus] for metrics."))
        whose = request.args.get("workers", "host")
        if whose not in metrics.WHOSE:
            return self.refusal(
                400, _("workers is one of {names}.", names=", ".join(metrics.WHOSE))
            )
        body = metrics.exposition(self.context.snapshot(), self.context.console.totals(whose))
        return Response(body, content_type=metrics.CONTENT_TYPE)

    @exposed("/health")
    def health(self) -> Response:
        """Return 200, or 503 while this worker reaches no node and others do."""
        well = is_well(self.context)
        return Response("ok\n" if well else "unwell\n", 200 if well else 503, mimetype="text/plain")

    def is_accessible(self) -> bool:
        """Return whether the sender may look; the health page may be public."""
        if (
            self.context.options.admin_health_public
            and request.endpoint == f"{self.endpoint}.health"
        ):
            return True
        return super().is_accessible()

    def wants_json(self) -> bool:
        """Return ``True``: errors of these pages are read by programs."""
        return True


def is_well(context: DashboardContext) -> bool:
    """Return whether other workers can do better than this one.

    A worker without memcached serves its users all the same. Taking all of them out because no
    node answers would turn a degraded site into none.
    """
    snapshot = context.console.view()
    own = next((w for w in snapshot.workers if w.id == snapshot.observer.worker), None)
    if own is None or own.mode != "local" or not snapshot.nodes:
        return True
    return not any(
        worker.mode == "distributed" and not worker.stale
        for worker in facts.living(snapshot)
        if worker.id != own.id
    )
