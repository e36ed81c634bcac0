"""The database backend `megapolis.database.postgresql` (see `base`)."""
