"""The one logger of the project.

from megapolis.logger import logger

logger.info("widget {} created", widget.id)
"""

from megapolis.logger.configuration import configure_logging, log_access, logger, request_id

__all__ = ["configure_logging", "log_access", "logger", "request_id"]
