"""The pages of the dashboard, made when the first of them is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask_admin import Admin
from flask_admin.theme import Theme
from werkzeug.exceptions import HTTPException

from .action_views import ActView, SessionsView
from .api import ApiView
from .base import MsmView
from .context import ENDPOINT, STATIC, DashboardContext
from .responses import stay_here
from .strays import Strays
from .views import (
    BlacklistView,
    EventsView,
    HistoryView,
    NodesView,
    OverviewView,
    PolicyView,
    WorkersView,
)


if TYPE_CHECKING:
    from flask_admin import BaseView

    from .application import Dashboard


class MsmAdmin(Admin):  # type: ignore[misc]
    """A Flask-Admin that takes views of ours only: others would be open to all requests."""

    def add_view(self, view: BaseView) -> None:
        """Add a view.

        Raises:
            TypeError: It is none of ours.
        """
        if not isinstance(view, MsmView):
            raise TypeError("only views that derive from MsmView are closed by default")
        super().add_view(view)


def add_pages(dashboard: Dashboard) -> DashboardContext:
    """Give *dashboard* its pages; return what they share."""
    context = DashboardContext(dashboard.console(), dashboard.options, dashboard.access)
    overview = OverviewView(context, path="", name="Overview", static_folder=str(STATIC))
    admin = MsmAdmin(
        name="Sessions",
        url=context.options.admin_url,
        endpoint=ENDPOINT,
        # Required by the constructor; no page of Flask-Admin's own is ever rendered.
        theme=Theme(folder="bootstrap4", base_template="flask_msm/base.html"),
        index_view=overview,
    )
    api = ApiView(context, path="api/v1", name="API")
    for view in (
        HistoryView(context, path="history", name="History"),
        NodesView(context, path="nodes", name="Nodes"),
        WorkersView(context, path="workers", name="Workers"),
        BlacklistView(context, path="blacklist", name="Blacklist"),
        SessionsView(context, path="sessions", name="Look up"),
        EventsView(context, path="events", name="Events"),
        PolicyView(context, path="policy", name="Policy"),
        ActView(context, path="act", name="Act"),
        api,
    ):
        admin.add_view(view)
    # The redirect from an address with a doubled slash could not be relative: see stay_here().
    dashboard.url_map.merge_slashes = False
    admin.init_app(dashboard)
    dashboard.after_request(stay_here)
    dashboard.register_error_handler(HTTPException, Strays(overview, api))
    return context
