"""Settings of stock Django: no middleware, and the connection pool its documentation advises.

https://docs.djangoproject.com/en/6.1/ref/databases/#connection-pool
"""

from benchmarks.peers import configuration

SECRET_KEY = configuration.SECRET
ALLOWED_HOSTS = ["127.0.0.1"]
INSTALLED_APPS = ["benchmarks.peers.tables"]
MIDDLEWARE: list[str] = []
ROOT_URLCONF = "benchmarks.peers.django_ninja"
APPEND_SLASH = False
USE_TZ = True
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": configuration.DATABASE_NAME,
        "USER": configuration.DATABASE_USER,
        "HOST": configuration.DATABASE_HOST,
        "PORT": configuration.DATABASE_PORT,
        "OPTIONS": {
            "pool": {"min_size": configuration.POOL_SIZE, "max_size": configuration.POOL_SIZE}
        },
    }
}
