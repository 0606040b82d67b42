"""Files as users have them, brought to one form: columns of values, and where each row stood.

What a file is, its first bytes say, not its name: packed or not (`decode`), Parquet, JSON in any of
its forms (`objects`), or a table with a delimiter (`delimited`). Nothing here knows what a column
means; `rows` does.
"""

import io
import re
from pathlib import Path

import polars as pl

from whichpairs.errors import UserError
from whichpairs.pool.raw.decode import SNIFF, STRAY, read_bytes, to_text, unpack
from whichpairs.pool.raw.delimited import read_delimited
from whichpairs.pool.raw.objects import read_objects
from whichpairs.pool.raw.source import Source, check_rows, from_frame, no_column, show

__all__ = [
    "FORMATS",
    "SUFFIXES",
    "Source",
    "check_rows",
    "from_frame",
    "load_bytes",
    "load_file",
    "no_column",
    "read_text",
    "show",
]

PLAIN = (".jsonl", ".ndjson", ".json", ".parquet", ".csv", ".tsv")
SUFFIXES = (*PLAIN, ".gz", ".zst", ".bz2", ".xz", ".zip")
FORMATS = "JSONL, JSON, Parquet, CSV, or a folder saved by Hugging Face datasets"
TABLES = {".csv": ",", ".tsv": "\t", ".tab": "\t", ".psv": "|"}


def load_file(path: Path) -> Source:
    """The rows of a file, by what it holds.

    Raises:
        UserError: the format is unknown, the file is broken (with its line), or holds no row.
    """
    if path.is_file() and read_bytes(path, 4) == b"PAR1":
        return check_rows(_parquet(path, str(path)))
    return load_bytes(read_bytes(path), str(path))  # once: a pipe gives what it holds once


def load_bytes(data: bytes, name: str) -> Source:
    """The rows of a file's bytes; `name` stands in messages, and its suffix decides in doubt.

    JSON in any form of `objects.read_objects`, CSV with any usual delimiter, Parquet or Arrow; of
    these, packed by gzip, zstandard, bzip2, xz or ZIP; text in UTF-8 or UTF-16.

    Raises:
        UserError: the format is unknown, the file is broken (with its line), or holds no row.
    """
    data = unpack(data, name)
    if data.startswith((b"PAR1", b"ARROW1")):
        return check_rows(_parquet(io.BytesIO(data), name, data.startswith(b"ARROW1")))
    text = to_text(data, name)
    if text[:SNIFF].count("\0") > SNIFF // 20 or text.startswith("\0"):
        raise UserError(
            f"{name} must be a file of rows",
            "it holds zeros: it is no text",
            "write the rows as JSONL, CSV or Parquet",
        )
    suffix = _suffix(name)
    start = text.lstrip()[:1]
    if suffix in TABLES and not _lines_of_json(text):
        source = read_delimited(text, name, TABLES[suffix])
    elif suffix in {".jsonl", ".ndjson", ".json"} or start in {"{", "["}:
        source = read_objects(text, name)
    elif suffix == ".parquet":
        raise UserError(
            "Parquet files must be whole",
            f"{name} does not begin as one" if text else f"{name} is empty",
            "write or fetch it again",
        )
    else:
        raise UserError(
            f"{name} must be {FORMATS}",
            f"it ends in {suffix!r}" if suffix else "its name has no suffix",
            "give it the suffix .csv if it is a table with a delimiter",
        )
    return check_rows(source)


def _suffix(name: str) -> str:
    """The suffix that says what a file holds, behind one that says how it is packed."""
    path = Path(name)
    if path.suffix.lower() in SUFFIXES[len(PLAIN) :]:
        path = path.with_suffix("")
    return path.suffix.lower()


def _lines_of_json(text: str) -> bool:
    """Whether a file called a table is JSON all the same."""
    first = text.lstrip().partition("\n")[0].rstrip()
    return first.startswith(('{"', "[{")) and first.endswith(("}", "]", ","))


def read_text(path: Path) -> str:
    """A text file, packed or not, in UTF-8 or UTF-16 (a byte-order mark is skipped).

    Raises:
        UserError: it cannot be read, or is in another encoding.
    """
    text = to_text(unpack(read_bytes(path), str(path)), str(path))
    stray = STRAY.search(text)
    if stray:
        line = text.count("\n", 0, stray.start()) + 1
        byte = ord(stray[0]) - 0xDC00
        raise UserError(
            f"{path} must be UTF-8 text", f"line {line} holds the byte 0x{byte:02x}", "mend it"
        )
    return text


def _parquet(data: Path | io.BytesIO, name: str, arrow: bool = False) -> Source:
    try:
        frame = (
            pl.read_ipc(data) if arrow else pl.read_parquet(data, glob=False)  # type: ignore[arg-type]
        )
    except (OSError, pl.exceptions.PolarsError) as error:
        kind, reason = "Arrow" if arrow else "Parquet", str(error)
        twice = re.search(r"name '(.*)' has more than one occurrence", reason)
        if twice:
            raise UserError(
                f"{kind} columns must have different names",
                f"{show(twice[1])} is there twice in {name}",
                "give one of them another name",
            ) from None
        raise UserError(
            f"{kind} files must be whole",
            f"{name} is cut short, damaged, or no such file",
            "write or fetch it again",
        ) from None
    return from_frame(frame.with_columns(map(_as_texts, frame.get_columns())), name)


def _as_texts(column: pl.Series) -> pl.Series:
    """Bytes that are UTF-8 are texts: older writers of Parquet do not say so."""
    if column.dtype != pl.Binary:
        return column
    try:
        return column.cast(pl.String)
    except pl.exceptions.PolarsError:
        return column
