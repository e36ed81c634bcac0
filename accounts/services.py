"""What can be done with users and sessions."""

from accounts import statements
from accounts.schemas import CurrentUser, UserResponse


async def get_user(*, user: CurrentUser) -> UserResponse:
    """Return the row of the signed-in user."""
    return await statements.find_user.one(id=user.id)
