"""The admin, for staff: the site, its first page, and what the admin of each feature stands on.

A feature declares its own in `<app>/admin.py`, as a subclass of `StaffAdmin`. Lists are bounded
whatever the table holds, actions ask before they act, and `glance` puts a model on the first page.
"""

from megapolis.admin.actions import Confirmation
from megapolis.admin.export import csv_response
from megapolis.admin.filters import CreatedFilter
from megapolis.admin.log import LogEntryAdmin
from megapolis.admin.options import LISTED, StaffAdmin
from megapolis.admin.site import StaffSite

__all__ = [
    "LISTED",
    "Confirmation",
    "CreatedFilter",
    "LogEntryAdmin",
    "StaffAdmin",
    "StaffSite",
    "csv_response",
]
