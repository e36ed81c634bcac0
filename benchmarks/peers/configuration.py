"""What the runner tells every peer, through the process environment."""

import os

DATABASE_HOST: str = os.environ["BENCHMARK_DATABASE_HOST"]
"""The folder of PostgreSQL's unix socket, or the address of a relay."""

DATABASE_PORT: str = os.environ["BENCHMARK_DATABASE_PORT"]

DATABASE_NAME: str = os.environ["BENCHMARK_DATABASE_NAME"]

DATABASE_USER = "postgres"

POOL_SIZE: int = int(os.environ["BENCHMARK_POOL_SIZE"])
"""Connections in the pool, the same number for every peer."""

SECRET: str = os.environ["BENCHMARK_SECRET"]
ISSUER: str = os.environ["BENCHMARK_ISSUER"]
AUDIENCE: str = os.environ["BENCHMARK_AUDIENCE"]

REQUIRED_CLAIMS = ["sub", "email", "exp", "iat", "iss", "aud", "sid"]
