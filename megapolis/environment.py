"""Every variable of the process environment: read once, typed, described and validated.

    from megapolis import environment

    environment.DATABASE_URL

Nothing else reads the process environment. A `.env` file in the checkout is read too, unless the
process has ENVIRONMENT=test; the process environment wins over it, with an empty variable, too,
which counts as unset.
All that is wrong is named at once in one `ImproperlyConfigured`, never with a value.
"""

import os
from pathlib import Path
from typing import Final

from megapolis import dotenv
from megapolis.environment_reader import Reader

BASE_DIR: Final = Path(__file__).resolve().parent.parent

read = Reader(dotenv.gather(os.environ, BASE_DIR / ".env"))

ENVIRONMENT: Final = read.environment(
    "ENVIRONMENT",
    "development, test or production (default production); anything else is refused.",
)

SECRET_KEY: Final = read.secret(
    "SECRET_KEY",
    "Signs sessions and CSRF tokens of the admin.",
)
ALLOWED_HOSTS: Final = read.hosts(
    "ALLOWED_HOSTS",
    "Host names this service answers to, separated by commas.",
)
CORS_ALLOWED_ORIGINS: Final = read.origins(
    "CORS_ALLOWED_ORIGINS",
    "Origins of browser clients, such as https://app.example.com, separated by commas.",
)

DATABASE_URL: Final = read.database_url(
    "DATABASE_URL",
    "postgresql://user:password@host:5432/name; empty starts the embedded PostgreSQL.",
)
DATABASE_POOL_SIZE: Final = read.integer(
    "DATABASE_POOL_SIZE",
    "Connections that one worker process may hold (1 to 500, default 10).",
    default=10,
    minimum=1,
    maximum=500,
)
DATABASE_PREPARED_STATEMENTS: Final = read.boolean(
    "DATABASE_PREPARED_STATEMENTS",
    "Set to false behind a transaction pooler such as Supavisor or PgBouncer (default true).",
    default=True,
)

SUPABASE_URL: Final = read.supabase_url(
    "SUPABASE_URL",
    "The Supabase project, https://<project>.supabase.co; empty uses the stand-in issuer.",
)
SUPABASE_SERVICE_ROLE_KEY: Final = read.optional_secret(
    "SUPABASE_SERVICE_ROLE_KEY",
    "The project's secret key (sb_secret_...), with which Auth is asked about legacy tokens.",
)
SUPABASE_JWT_SECRET: Final = read.optional_secret(
    "SUPABASE_JWT_SECRET",
    "Only for projects that still sign with the legacy HS256 secret.",
)
SUPABASE_ALLOW_UNVERIFIED: Final = read.development_switch(
    "SUPABASE_ALLOW_UNVERIFIED",
    "Accept Supabase tokens without checking their signature; development only.",
)
SUPABASE_REQUIRE_AAL2: Final = read.choice(
    "SUPABASE_REQUIRE_AAL2",
    "Who must sign in with a second factor: off (nobody, the default), staff or all.",
    choices=("off", "staff", "all"),
)
EXCHANGE_LIMIT_PER_MINUTE: Final = read.integer(
    "EXCHANGE_LIMIT_PER_MINUTE",
    "Token exchanges per minute and client address (default 30); 0 switches the limit off.",
    default=30,
    minimum=0,
    maximum=1_000_000,
)

JWT_SECRET_KEY: Final = read.secret(
    "JWT_SECRET_KEY",
    "Signs the tokens of this API (HS256).",
)
JWT_SECRET_KEY_FALLBACKS: Final = read.secrets(
    "JWT_SECRET_KEY_FALLBACKS",
    "Earlier signing keys whose tokens are still accepted, separated by commas.",
)
JWT_LIFETIME_DAYS: Final = read.integer(
    "JWT_LIFETIME_DAYS",
    "Days until a token of this API expires (1 to 365, default 30).",
    default=30,
    minimum=1,
    maximum=365,
)

TRUSTED_PROXIES: Final = read.networks(
    "TRUSTED_PROXIES",
    "Addresses or networks whose X-Forwarded-For is believed, separated by commas.",
)
ADMIN_ENABLED: Final = read.boolean(
    "ADMIN_ENABLED",
    "Serve the admin (default true); /static/ is served in any case.",
    default=True,
)
API_DOCS_ENABLED: Final = read.boolean(
    "API_DOCS_ENABLED",
    "Serve /docs and /openapi.json (default true, in production false).",
    default=not read.production,
)

LOG_LEVEL: Final = read.log_level(
    "LOG_LEVEL",
    "TRACE, DEBUG, INFO, WARNING, ERROR or CRITICAL (default INFO).",
)
LOG_DIR: Final = read.folder(
    "LOG_DIR",
    "Folder of the JSON log files (default none, in production logs).",
    default=BASE_DIR / "logs" if read.production else None,
    base=BASE_DIR,
)
ACCESS_LOG: Final = read.boolean(
    "ACCESS_LOG",
    "Log one line per request (default true).",
    default=True,
)

VARIABLES: Final = read.finish()
"""Name and description of each variable, in the order of this file."""
