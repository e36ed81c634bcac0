"""Django's settings. What differs between machines comes from `megapolis.environment`.

There are two handlers (`megapolis.asgi`), each with its own middleware: `MIDDLEWARE` is Django's
own name and serves the admin, `API_MIDDLEWARE` serves the API, where every entry must be
native async (`megapolis.http.checks` says so at start).
"""

import re
from typing import Any

from django.utils.csp import CSP
from environ import Env

from megapolis import environment
from megapolis.environment import limits
from megapolis.features import FEATURES
from megapolis.logger import configure_logging

configure_logging()
LOGGING_CONFIG = None

BASE_DIR = environment.BASE_DIR
DEBUG = environment.ENVIRONMENT == "development"
PRODUCTION = environment.ENVIRONMENT == "production"
SECRET_KEY = environment.SECRET_KEY
ALLOWED_HOSTS = list(environment.ALLOWED_HOSTS)

INSTALLED_APPS = [
    "megapolis",
    *FEATURES,
    "ninja",
    "corsheaders",
    "megapolis.apps.StaffSiteConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "servestatic",
    "django.contrib.staticfiles",
]

ASGI_APPLICATION = "megapolis.asgi.application"
ROOT_URLCONF = "megapolis.urls"
APPEND_SLASH = True

API_MIDDLEWARE = [
    "megapolis.http.middleware.request_context",
    *(["corsheaders.middleware.CorsMiddleware"] if environment.CORS_ALLOWED_ORIGINS else []),
    "megapolis.http.middleware.append_slash",
    "megapolis.http.middleware.http_methods",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.csp.ContentSecurityPolicyMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "servestatic.middleware.ServeStaticMiddleware",
    "megapolis.admin.middleware.request_context",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "accounts.visibility.viewer",
    "django.contrib.messages.middleware.MessageMiddleware",
    "megapolis.admin.middleware.OutageMiddleware",
]

# What features add to the process. Their routers are found by `megapolis.features`.
API_AUTH = "accounts.auth.JWTAuth"  # The auth class of endpoints that do not name another.
API_LIFESPAN = ["accounts.supabase.verifying"]  # Async context managers around all requests.
# Async functions that return a reason for /readyz, or None. The first reason is logged.
API_READINESS = [
    "megapolis.server.shutdown.why_not_ready",
    "megapolis.database.readiness.why_not_ready",
    "accounts.supabase.why_not_ready",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

# The pool of the API handler (`megapolis.database`) reads its address from here, too.
database: dict[str, Any] = (
    {**Env.db_url_config(environment.DATABASE_URL), "ENGINE": "megapolis.database.postgresql"}
    if environment.DATABASE_URL
    else {"ENGINE": "megapolis.database.embedded", "NAME": "megapolis", "USER": "postgres"}
)
# A cursor on the server lasts longer than a transaction pooler lends the connection.
database["DISABLE_SERVER_SIDE_CURSORS"] = not environment.DATABASE_PREPARED_STATEMENTS
# Without these the kernel waits two minutes for a server that does not answer, and hours for one
# that has gone silent. In seconds, the last in milliseconds; the address may say otherwise.
# https://www.postgresql.org/docs/current/libpq-connect.html
database["OPTIONS"] = {
    "connect_timeout": limits.DATABASE_CONNECT_TIMEOUT,
    "keepalives_idle": limits.DATABASE_SILENCE // 2,
    "keepalives_interval": max(1, limits.DATABASE_SILENCE // 6),
    "keepalives_count": 3,
    "tcp_user_timeout": limits.DATABASE_SILENCE * 1000,
    **database.get("OPTIONS", {}),
}
DATABASES = {"default": database}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_USER_MODEL = "accounts.User"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]

LANGUAGE_CODE = "en-us"
USE_I18N = False
TIME_ZONE = "UTC"
USE_TZ = True
FORMAT_MODULE_PATH = "megapolis.admin.formats"

# Served from where the packages have them, in production too: there is nothing to collect.
STATIC_URL = "/static/"
SERVESTATIC_USE_FINDERS = True
SERVESTATIC_AUTOREFRESH = DEBUG

# Headers of every answer of the API that has not set its own: a browser is to do nothing with it
# but to hand it to the script that asked, and to keep no copy.
API_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Frame-Options": "DENY",  # Also where a page has a policy of its own.
    "Cache-Control": "no-store",
    **({"Strict-Transport-Security": "max-age=31536000"} if PRODUCTION else {}),
}

API_BODY_MAX_BYTES = limits.BODY_MAX_BYTES
API_BODY_LIMITS = {"/auth/token": limits.TOKEN_BODY_MAX_BYTES}

CORS_ALLOWED_ORIGINS = list(environment.CORS_ALLOWED_ORIGINS)
CORS_ALLOW_HEADERS = ("accept", "authorization", "content-type", "x-request-id")
CORS_EXPOSE_HEADERS = ("location", "retry-after", "x-request-id")
CORS_URLS_REGEX = re.compile(r"^/(?!admin/|static/)")

SECURE_SSL_REDIRECT = False  # TLS ends at the proxy in front, which redirects.
SECURE_HSTS_SECONDS = 31_536_000 if PRODUCTION else 0
SECURE_REFERRER_POLICY = "same-origin"
SESSION_ENGINE = "megapolis.admin.sessions"
SESSION_COOKIE_AGE = 12 * 60 * 60
SESSION_COOKIE_PATH = CSRF_COOKIE_PATH = "/admin/"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = PRODUCTION
CSRF_COOKIE_HTTPONLY = True
MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"
X_FRAME_OPTIONS = "DENY"
SECURE_CSP = {
    "default-src": [CSP.NONE],
    "script-src": [CSP.SELF],
    "style-src": [CSP.SELF],
    "img-src": [CSP.SELF],
    "connect-src": [CSP.SELF],
    "form-action": [CSP.SELF],
    "base-uri": [CSP.NONE],
    "frame-ancestors": [CSP.NONE],
}
SILENCED_SYSTEM_CHECKS = [
    "security.W008",  # SECURE_SSL_REDIRECT, see above.
    *("security.W005", "security.W021"),  # The names below this one are not ours to bind.
]
