"""Day before month and 24 hours: short, and read alike everywhere. All times are UTC."""

DATETIME_FORMAT = "j M Y, H:i"
DATE_FORMAT = "j M Y"
