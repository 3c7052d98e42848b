"""What other libraries say of themselves: the `feast` command logs everything from INFO on, and nobody asked for theirs."""

from __future__ import annotations

import logging
import warnings

CHATTY = ("great_expectations", "httpx", "py4j")


def quiet_libraries() -> None:
    """Let the libraries beneath a job speak from warnings on, unless somebody has set their level."""
    for name in CHATTY:
        logger = logging.getLogger(name)
        if logger.level == logging.NOTSET:
            logger.setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", category=DeprecationWarning, module="great_expectations")
    warnings.filterwarnings("ignore", message="The spark data source API is an experimental feature")
