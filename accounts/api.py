"""The endpoints of accounts."""

from django.http import HttpRequest
from ninja import Query, Router, Status

from accounts import services
from accounts.auth import concurrent_auth, current_user, current_user_id
from accounts.schemas import SessionListResponse, TokenRequest, TokenResponse, UserResponse
from accounts.throttle import AddressThrottle
from megapolis import environment
from megapolis.errors.problems import Problem
from megapolis.rest import Id, PageQuery

router = Router(tags=["auth"])

exchange_throttle = AddressThrottle(environment.EXCHANGE_LIMIT_PER_MINUTE)


@router.post(
    "/token",
    auth=None,
    throttle=[exchange_throttle],
    response={200: TokenResponse, 401: Problem, 403: Problem, 409: Problem, 429: Problem},
)
async def exchange_token(request: HttpRequest, payload: TokenRequest) -> TokenResponse:
    """Exchange a Supabase access token for one of ours. Do it again to refresh ours."""
    return await services.exchange(access_token=payload.access_token)


@router.get("/me", response=UserResponse)
@concurrent_auth
async def get_me(request: HttpRequest) -> UserResponse:
    """The signed-in user."""
    return await services.get_user(user_id=current_user_id(request))


@router.get("/sessions/", response=SessionListResponse)
async def list_sessions(request: HttpRequest, query: Query[PageQuery]) -> SessionListResponse:
    """Where you are signed in, the newest session first."""
    return await services.list_sessions(user=current_user(request), query=query)


@router.delete("/sessions/{session_id}", response={204: None, 404: Problem})
async def end_session(request: HttpRequest, session_id: Id) -> Status[None]:
    """Sign one of your clients out."""
    await services.end_session(user=current_user(request), session_id=session_id)
    return Status(204, None)


@router.post("/logout", response={204: None})
async def logout(request: HttpRequest) -> Status[None]:
    """Sign this client out."""
    await services.end_current_session(user=current_user(request))
    return Status(204, None)


@router.post("/logout-everywhere", response={204: None})
async def logout_everywhere(request: HttpRequest) -> Status[None]:
    """Sign all of your clients out, this one too."""
    await services.end_all_sessions(user=current_user(request))
    return Status(204, None)
