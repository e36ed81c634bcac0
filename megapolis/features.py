"""The one list of features. `manage.py startfeature` adds a line to it.

From it follow the installed apps, the routers of the API, the fixtures of the tests and the import
contracts. Each feature is an app of this repository whose `api.py` has a `router`.
"""

from typing import Final

FEATURES: Final = {
    "accounts": "/auth",
    "widgets": "/widgets",
}
"""The name of each app, and the path under which its endpoints answer."""
