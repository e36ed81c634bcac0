"""What Schemathesis cannot read in docs/openapi.json. It loads this in a process of its own."""

import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import django
import schemathesis
from schemathesis.openapi.checks import RejectedPositiveData

os.environ["DJANGO_SETTINGS_MODULE"] = "megapolis.settings"
django.setup()

from accounts import tokens  # noqa: E402
from accounts.models import ApiSession, User  # noqa: E402
from megapolis.rest.pagination import InvalidCursor  # noqa: E402
from widgets.services import NameExists, SearchOrder  # noqa: E402

REFUSALS = {NameExists.detail, InvalidCursor.detail, SearchOrder.detail}
"""Why a request that OpenAPI allows may be refused all the same."""

journal = Path(os.environ["SCHEMATHESIS_JOURNAL"]).open("w")  # noqa: SIM115 - open to the end
"""A line for each answer: the operation, the phase, and what was asked and answered."""


@schemathesis.auth(refresh_interval=None)
class FreshStaff:
    """A new member of staff for each request: it may end every session, and change every widget."""

    def get(self, case: Any, context: Any) -> str:
        user = User.objects.create(is_staff=True, is_superuser=True)
        session = ApiSession.objects.create(user=user, expires_at=tokens.expiry())
        return tokens.issue(
            user_id=user.pk, email=None, session_key=session.key, expires_at=session.expires_at
        )

    def set(self, case: Any, data: str, context: Any) -> None:
        case.headers["Authorization"] = f"Bearer {data}"


@schemathesis.hook
def after_call(context: Any, case: Any, response: Any) -> None:
    phase = case.meta.phase.name.value if case.meta else None
    path = urlsplit(response.request.url).path
    line = [case.operation.label, phase, response.request.method, path, response.status_code]
    journal.write(f"{json.dumps(line)}\n")


@schemathesis.hook
def filter_failure(context: Any, failure: Any, case: Any, response: Any) -> bool:
    refused = isinstance(failure, RejectedPositiveData)
    return not (refused and response.json()["detail"] in REFUSALS)
