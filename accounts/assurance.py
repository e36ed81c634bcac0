"""Which authenticator assurance level (`aal`) a session must have: SUPABASE_REQUIRE_AAL2."""

from typing import Final

from megapolis import environment

LEVELS: Final = {"off": (1, 1), "staff": (1, 2), "all": (2, 2)}
"""By the variable: the level for an ordinary user, and for staff and superusers."""


def required_level(*, is_staff: bool) -> int:
    """Return the level for such a user."""
    return LEVELS[environment.SUPABASE_REQUIRE_AAL2][is_staff]
