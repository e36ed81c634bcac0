"""The wiring of the API: every feature answers where `megapolis.features` says."""

from django.conf import settings
from django.utils.module_loading import import_string
from ninja import Router

from megapolis.features import FEATURES
from megapolis.rest.ninja_api import Api

api = Api(
    title="Megapolis API",
    version="1.0.0",
    description="Sign in with Supabase, exchange its token at `/auth/token`, use ours everywhere.",
    auth=import_string(settings.API_AUTH)(),
)

for feature, path in FEATURES.items():
    router: Router = import_string(f"{feature}.api.router")
    api.add_router(path, router)
