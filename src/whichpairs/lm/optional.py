"""What keeps the optional packages optional, and quiet."""

import importlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from whichpairs.errors import MissingExtraError


def require(module: str, extra: str = "torch") -> None:
    """Import `module`, or say which extra of whichpairs brings it.

    Raises:
        MissingExtraError: `module` itself is not installed. (One that is there and broken raises
            its own error.)
    """
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.split(".")[0] == module.split(".")[0]:
            raise MissingExtraError(module, extra) from None
        raise


@contextmanager
def quiet() -> Iterator[None]:
    """Run a block without the notices, progress bars and warnings of transformers."""
    from transformers.utils import logging as transformers_logging

    logging: Any = transformers_logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
