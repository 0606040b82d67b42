"""Tables that Hugging Face `datasets` holds: a folder of `save_to_disk`, or a name on the hub."""

import re
from pathlib import Path
from typing import Any

from whichpairs.errors import MissingExtraError, UserError
from whichpairs.pool.raw.sources import FORMATS, Source, check_rows, from_frame, show

HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(/[\w.-]{1,96})?")


def load_folder(path: Path, split: str) -> Source:
    """The rows of a folder that `save_to_disk` wrote; `split` is ``""`` where none is named.

    Raises:
        UserError: it is another folder, broken, or needs another split; MissingExtraError.
    """
    if not any((path / mark).is_file() for mark in ("state.json", "dataset_dict.json")):
        raise UserError(
            f"the pool must be {FORMATS}",
            f"{path} is a folder without state.json or dataset_dict.json",
            "name a file in it",
        )
    datasets = _datasets()
    try:
        data = datasets.load_from_disk(str(path))
    except Exception as error:  # whatever a broken folder makes datasets or pyarrow raise
        raise _failed(f"the folder {path} must be whole", error) from None
    return _table(data, split, str(path))


def load_hub(name: str, split: str) -> Source:
    """The rows of a data set on the hub; `split` is ``""`` where none is named.

    Raises:
        UserError: it cannot be had, or needs another split; MissingExtraError.
    """
    datasets = _datasets()
    try:
        data = datasets.load_dataset(name)
    except Exception as error:  # no network, no such name, several configurations …
        raise _failed(f"{name} must be a file here or a data set on the hub", error) from None
    return _table(data, split, name)


def _datasets() -> Any:
    try:
        import datasets
    except ImportError:
        raise MissingExtraError("datasets", "hub") from None
    return datasets


def _failed(rule: str, error: Exception) -> UserError:
    reason = str(error).strip().partition("\n")[0] or "no reason given"
    return UserError(rule, f"datasets says: {reason}")


def _table(data: Any, split: str, name: str) -> Source:
    """The one split that is wanted: by name, or the only one, or ``train``."""
    if isinstance(data, dict):
        splits = list(data)
        wanted = split or (splits[0] if len(splits) == 1 else "train")
        if wanted not in data:
            raise UserError(
                "one split must be read",
                f"{name} has {', '.join(map(show, splits))}",
                f"name one: {name}:{splits[0] if splits else 'train'}",
            )
        data = data[wanted]
    elif split:
        raise UserError(f"a split needs a data set with splits; {name} has none", f"got {split!r}")
    return check_rows(from_frame(data.to_polars(), name))
