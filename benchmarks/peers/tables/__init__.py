"""A Django application with the service's tables, for the two peers that use Django's ORM."""
