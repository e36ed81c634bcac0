"""The endpoints of accounts."""

from django.http import HttpRequest
from ninja import Router

from accounts import services
from accounts.auth import current_user
from accounts.schemas import UserResponse

router = Router(tags=["auth"])


@router.get("/me", response=UserResponse)
async def get_me(request: HttpRequest) -> UserResponse:
    """The signed-in user."""
    return await services.get_user(user=current_user(request))
