"""The database backend of the embedded server (`megapolis.embedded`)."""

from collections.abc import Iterable
from typing import Any

from django.db.backends.postgresql import client

from megapolis import embedded
from megapolis.database.postgresql import base
from megapolis.embedded.programs import bin_folder


class DatabaseClient(client.DatabaseClient):
    """`manage.py dbshell`, with the psql that is in the box."""

    @classmethod
    def settings_to_cmd_args_env(
        cls, settings_dict: dict[str, Any], parameters: Iterable[str]
    ) -> tuple[list[str], dict[str, str] | None]:
        here = {**settings_dict, "HOST": embedded.start(), "USER": "postgres"}
        (_, *arguments), env = super().settings_to_cmd_args_env(here, parameters)
        env = {**(env or {}), "PGREQUIREPEER": embedded.default.account_name}
        return [str(bin_folder() / "psql"), *arguments], env


class DatabaseWrapper(base.DatabaseWrapper):
    """Starts the server when the first connection is made, not before.

    libpq looks whose process is at the other end of the socket: a server of another account of the
    machine is sent nothing.
    """

    client_class = DatabaseClient

    def get_connection_params(self) -> dict[str, Any]:
        params: dict[str, Any] = super().get_connection_params()
        here = {"host": embedded.start(), "user": "postgres"}
        return {**params, **here, "requirepeer": embedded.default.account_name}
