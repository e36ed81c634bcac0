"""What the tests of the verifier share."""

from collections.abc import Callable

from accounts.supabase import SupabaseVerifier

type MakeVerifier = Callable[..., SupabaseVerifier]


class Clock:
    """Seconds since 1970, which pass when told to."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now
