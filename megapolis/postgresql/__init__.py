"""The database backend `megapolis.postgresql` (see `base`)."""
