"""What the runner tells every peer, through the process environment."""

import os

DATABASE_SOCKET: str = os.environ["BENCHMARK_DATABASE_SOCKET"]
"""The folder of PostgreSQL's unix socket."""

DATABASE_NAME: str = os.environ["BENCHMARK_DATABASE_NAME"]

DATABASE_USER = "postgres"

POOL_SIZE: int = int(os.environ["BENCHMARK_POOL_SIZE"])
"""Connections in the pool, the same number for every peer."""

SECRET: str = os.environ["BENCHMARK_SECRET"]
ISSUER: str = os.environ["BENCHMARK_ISSUER"]
AUDIENCE: str = os.environ["BENCHMARK_AUDIENCE"]

REQUIRED_CLAIMS = ["sub", "email", "exp", "iat", "iss", "aud", "sid"]
