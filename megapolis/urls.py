"""Where things are."""

from functools import cache
from typing import Any, Final

from django.contrib import admin
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, URLResolver, path, reverse
from django.views.decorators.http import require_safe
from ninja import NinjaAPI
from ninja.openapi.docs import Swagger
from ninja.openapi.schema import OpenAPISchema

from megapolis import environment
from megapolis.api import api

DOCS_POLICY: Final = (
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Swagger UI has styles in its markup, and icons in data: URLs."""


@cache
def openapi_document() -> OpenAPISchema:
    """Return the OpenAPI document. To make it takes 14 ms, in which nobody else is served."""
    return api.get_openapi_schema()


class Documentation(Swagger):
    """Swagger UI, which Ninja would look for beside its own synchronous view of the document."""

    def get_openapi_url(self, api: NinjaAPI, path_params: dict[str, Any]) -> str:
        """Return where the OpenAPI document is."""
        return reverse("openapi-json")


@require_safe
async def openapi_json(request: HttpRequest) -> HttpResponse:
    """The OpenAPI document."""
    return api.create_response(request, openapi_document(), status=200)


@require_safe
async def docs(request: HttpRequest) -> HttpResponse:
    """The interactive documentation, from files of this service alone."""
    response = Documentation().render_page(request, api)
    response.headers["Content-Security-Policy"] = DOCS_POLICY
    return response


@require_safe
async def index(request: HttpRequest) -> HttpResponse:
    """Lead a browser to the documentation."""
    return HttpResponseRedirect("/docs")


documentation: list[URLPattern] = [
    path("", index),
    path("docs", docs),
    path("openapi.json", openapi_json, name="openapi-json"),
]

urlpatterns: list[URLPattern | URLResolver] = [
    *(documentation if environment.API_DOCS_ENABLED else []),
    path("", api.urls),
    *([path("admin/", admin.site.urls)] if environment.ADMIN_ENABLED else []),
]

handler400 = "megapolis.admin.outage.bad_request"
handler500 = "megapolis.admin.outage.server_error"
