"""The wiring of the API: which feature answers where."""

from ninja import Router

from accounts.api import router as accounts_router
from accounts.auth import JWTAuth
from megapolis.ninja_api import Api
from widgets.api import router as widgets_router

api = Api(
    title="Megapolis API",
    version="1.0.0",
    description="Sign in with Supabase, exchange its token at `/auth/token`, use ours everywhere.",
    auth=JWTAuth(),
)

ROUTERS: dict[str, Router] = {
    "/auth": accounts_router,
    "/widgets": widgets_router,
}
for prefix, router in ROUTERS.items():
    api.add_router(prefix, router)
