"""The site at `/admin/`."""

from typing import Any

from django.contrib.admin import AdminSite
from django.contrib.admin.models import LogEntry
from django.contrib.admin.views.autocomplete import AutocompleteJsonView
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from megapolis import environment
from megapolis.admin import dashboard
from megapolis.admin.log import LogEntryAdmin

TOO_MANY_ATTEMPTS = "too_many_attempts"
"""The code of the sign-in form's error that makes the answer a 429.

Its parameter `retry_after` is the seconds to wait.
"""


class Autocomplete(AutocompleteJsonView):
    """Searches for what a field may refer to."""

    def process_request(self, request: HttpRequest) -> Any:
        """Reject the other end of a relation, which is no field of a form."""
        found = super().process_request(request)
        if found[2].auto_created:
            raise PermissionDenied
        return found


class StaffSite(AdminSite):
    """Django's admin site with a first page that answers at a glance."""

    site_header = "Megapolis"
    site_title = "Megapolis"
    index_title = "At a glance"
    index_template = "admin/dashboard.html"
    site_url = "/docs" if environment.API_DOCS_ENABLED else None

    def __init__(self, name: str = "admin") -> None:
        super().__init__(name)
        self.register(LogEntry, LogEntryAdmin)

    def index(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> TemplateResponse:
        """Show the first page."""
        panels = dashboard.panels(self, request)
        return super().index(request, {"panels": panels, **(extra_context or {})})

    def autocomplete_view(self, request: HttpRequest) -> HttpResponse:
        """Answer a field that completes what is typed."""
        return Autocomplete.as_view(admin_site=self)(request)  # type: ignore[return-value] # JSON

    def login(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show or judge the sign-in form; 429 where it was filled in too often."""
        response = super().login(request, extra_context)
        form = (getattr(response, "context_data", None) or {}).get("form")
        if form is None or not form.is_bound:
            return response
        for error in form.non_field_errors().as_data():
            if error.code == TOO_MANY_ATTEMPTS:
                response.status_code = 429
                response.headers["Retry-After"] = str(error.params["retry_after"])
        return response
