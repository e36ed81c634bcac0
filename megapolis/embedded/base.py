"""The database backend `megapolis.embedded`: Django's own, on the embedded server."""

from typing import Any

from django.db.backends.postgresql import base

from megapolis import embedded


class DatabaseWrapper(base.DatabaseWrapper):
    """Starts the server when the first connection is made, not before."""

    def get_connection_params(self) -> dict[str, Any]:
        params: dict[str, Any] = super().get_connection_params()
        return {**params, "host": embedded.start(), "user": "postgres"}
