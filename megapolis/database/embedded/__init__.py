"""The database backend for the embedded server (`megapolis.embedded`)."""
