"""Settings of django-bolt: those of stock Django, with the application it asks for.

https://bolt.farhana.li/topics/deployment/
"""

from benchmarks.peers.django_settings import *  # noqa: F403 - all of them

INSTALLED_APPS = ["django_bolt", "benchmarks.peers.tables"]
ROOT_URLCONF = "benchmarks.peers.bolt_urls"
BOLT_API = ["benchmarks.peers.bolt:api"]
# Its server writes the access log to this logger, whatever `BoltAPI(enable_logging=)` says.
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "loggers": {"django.server": {"level": "WARNING", "handlers": [], "propagate": False}},
}
