"""Keeps the log of Ray Serve's processes when a library configures logging.

`logging.config.dictConfig` closes every handler of the process. pymilvus calls it when it is imported. A closed
`MemoryHandler` has lost its target: it keeps all further records, and writes none. Ray Serve writes its log files
through such a handler, so all warnings of a replica would be lost from the first use of Milvus on.
"""

import logging
from collections.abc import Callable
from functools import wraps
from logging.handlers import MemoryHandler
from typing import Any

SERVE_LOGGER = "ray.serve"


def keep_logging(logging_utils: Any) -> None:
    """Patches `ray.serve._private.logging_utils`: handlers that it installs only flush when they are closed.

    The file behind such a handler is closed too, and opens again with the next record.
    """
    configure: Callable[..., None] = logging_utils.configure_component_logger

    @wraps(configure)
    def configured(*arguments: Any, **options: Any) -> None:
        configure(*arguments, **options)
        for handler in logging.getLogger(SERVE_LOGGER).handlers:
            if isinstance(handler, MemoryHandler):
                handler.close = handler.flush  # type: ignore[method-assign]

    logging_utils.configure_component_logger = configured
