"""Every variable of the process environment, read once, typed and validated.

    from megapolis import environment

    environment.DATABASE_URL

No other module of the project reads variables. `docs/operations.md` describes each. If values are
wrong, here or in `limits`, one ImproperlyConfigured names all of them, without the values.
"""

from itertools import combinations
from pathlib import Path
from secrets import token_urlsafe

from megapolis.environment import checks, limits, reader
from megapolis.environment.reader import read

BASE_DIR = reader.BASE_DIR

ENVIRONMENT = read.choice("ENVIRONMENT", "development", "test", "production", default="production")
PRODUCTION = ENVIRONMENT == "production"
STRONG = checks.strong if PRODUCTION else None

SECRET_KEY = read.text(
    "SECRET_KEY", required=ENVIRONMENT != "test", default=token_urlsafe(48), check=STRONG
)
ALLOWED_HOSTS = read.words(
    "ALLOWED_HOSTS",
    required=PRODUCTION,
    default=("localhost", "127.0.0.1", "[::1]"),
    check=checks.host_in_production if PRODUCTION else checks.host,
)
CORS_ALLOWED_ORIGINS = read.words(
    "CORS_ALLOWED_ORIGINS", check=checks.https_origin if PRODUCTION else checks.origin
)

DATABASE_URL = read.text("DATABASE_URL", required=PRODUCTION, check=checks.database_url)
DATABASE_POOL_SIZE = read.number("DATABASE_POOL_SIZE", default=10, least=1, most=500)
DATABASE_PREPARED_STATEMENTS = read.switch("DATABASE_PREPARED_STATEMENTS", default=True)

SUPABASE_URL = read.text(
    "SUPABASE_URL", required=PRODUCTION, check=checks.https_url if PRODUCTION else checks.url
).rstrip("/")
SUPABASE_SERVICE_ROLE_KEY = read.text("SUPABASE_SERVICE_ROLE_KEY", check=STRONG)
SUPABASE_JWT_SECRET = read.text("SUPABASE_JWT_SECRET", check=STRONG)
SUPABASE_ALLOW_UNVERIFIED = read.switch("SUPABASE_ALLOW_UNVERIFIED", default=False)
SUPABASE_REQUIRE_AAL2 = read.choice("SUPABASE_REQUIRE_AAL2", "off", "staff", "all", default="off")
EXCHANGE_LIMIT_PER_MINUTE = read.number(
    "EXCHANGE_LIMIT_PER_MINUTE", default=30, least=0, most=1_000_000
)

JWT_SECRET_KEY = read.text(
    "JWT_SECRET_KEY", required=ENVIRONMENT != "test", default=token_urlsafe(48), check=STRONG
)
JWT_SECRET_KEY_FALLBACKS = read.words("JWT_SECRET_KEY_FALLBACKS", check=STRONG)
JWT_LIFETIME_DAYS = read.number("JWT_LIFETIME_DAYS", default=30, least=1, most=365)

TRUSTED_PROXIES = read.words("TRUSTED_PROXIES", check=checks.network)
ADMIN_ENABLED = read.switch("ADMIN_ENABLED", default=True)
API_DOCS_ENABLED = read.switch("API_DOCS_ENABLED", default=not PRODUCTION)

LOG_LEVEL = read.choice(
    "LOG_LEVEL", "TRACE", "DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL", default="INFO"
)
_log_dir = read.text("LOG_DIR", default="logs" if PRODUCTION else "")
LOG_DIR = BASE_DIR / Path(_log_dir).expanduser() if _log_dir else None
ACCESS_LOG = read.switch("ACCESS_LOG", default=True)


def _check_that_secrets_differ() -> None:
    secrets = [
        ("SECRET_KEY", SECRET_KEY),
        ("SUPABASE_SERVICE_ROLE_KEY", SUPABASE_SERVICE_ROLE_KEY),
        ("SUPABASE_JWT_SECRET", SUPABASE_JWT_SECRET),
        ("JWT_SECRET_KEY", JWT_SECRET_KEY),
        *(("JWT_SECRET_KEY_FALLBACKS", key) for key in JWT_SECRET_KEY_FALLBACKS),
    ]
    for (first, secret), (second, other) in combinations(secrets, 2):
        signs_for_both = first.startswith("SUPABASE_") and second.startswith("JWT_")
        if secret and secret == other and (PRODUCTION or signs_for_both):
            read.problem(second, f"must differ from {first}")


_check_that_secrets_differ()
if SUPABASE_ALLOW_UNVERIFIED and ENVIRONMENT != "development":
    read.problem("SUPABASE_ALLOW_UNVERIFIED", "may be true only with ENVIRONMENT=development")
if PRODUCTION and checks.hold_much_of_the_internet(TRUSTED_PROXIES):
    what = "must be narrower. Name your proxies, such as 10.0.0.5 or 10.0.0.0/8"
    read.problem("TRUSTED_PROXIES", what)
read.raise_problems()

VARIABLES = tuple(name for name in read.names if name not in limits.VARIABLES)
"""The name of every variable that is not a limit, in the order of this file."""
