from collections.abc import Callable
from dataclasses import dataclass

from tests.fakes import FakeSupabase


@dataclass(frozen=True)
class Attack:
    """A token that must be refused, and how.

    `token` makes it for a project whose key set and secret are the fake's. `status` is the
    verifier's; `over_http` is that of the endpoint, which refuses some texts before it.
    """

    name: str
    token: Callable[[FakeSupabase], str]
    status: int = 401
    text_status: int | None = None

    @property
    def over_http(self) -> int:
        return self.text_status or self.status
