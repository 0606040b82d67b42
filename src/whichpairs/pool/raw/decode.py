"""Bytes of a file as text: unpacked by what they are, not by a name, and in the encoding they have.

What is not self-describing (a Windows code page, Latin-1) is refused with the command that converts
it: guessed wrong, it would change letters without a word.
"""

import bz2
import gzip
import io
import lzma
import re
import shlex
import zipfile
import zlib
from pathlib import PurePath

import zstandard

from whichpairs.errors import UserError

PACKED = {
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstandard",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
}
"""The first bytes of packed files."""
MARKS = {
    b"\xef\xbb\xbf": "utf-8",
    b"\xff\xfe\x00\x00": "utf-32-le",
    b"\x00\x00\xfe\xff": "utf-32-be",
    b"\xff\xfe": "utf-16-le",
    b"\xfe\xff": "utf-16-be",
}
"""Byte-order marks, the longer ones first."""
FOREIGN = {
    b"\xd0\xcf\x11\xe0": ("an old Excel or Word file", "save it as CSV UTF-8"),
    b"SQLite format 3": ("an SQLite database", "export the table as CSV"),
    b"version https://git-lfs": ("a Git LFS pointer, not the file", "fetch it: git lfs pull"),
    b"%PDF": ("a PDF file", "give a table: JSONL, CSV or Parquet"),
    b"<!DOCTYPE": ("an HTML page", "download the file itself, not the page that shows it"),
    b"<html": ("an HTML page", "download the file itself, not the page that shows it"),
}
ZIP = b"PK\x03\x04"
TAR = slice(257, 262)
"""Where a tar archive says what it is."""
C1 = bytes(range(0x80, 0xA0))
"""Letters and quotation marks in Windows code pages, control characters in Latin-1."""
SNIFF = 4096
HIGH = re.compile(b"[\x80-\xff]+")
STRAY = re.compile("[\udc80-\udcff]")
"""What `to_text` makes of a byte that is no UTF-8."""


def read_bytes(path: PurePath | str, most: int = -1) -> bytes:
    """What a file holds, its first `most` bytes or all.

    Raises:
        UserError: it cannot be read.
    """
    try:
        with open(path, "rb") as file:
            return file.read(most)
    except OSError as error:
        raise UserError(f"{path} must be readable", str(error.strerror or error)) from None


def unpack(data: bytes, name: str) -> bytes:
    """`data` without its packing (gzip, zstandard, bzip2, xz, a ZIP of one file).

    Raises:
        UserError: it is broken, or a file of another kind (which, and what to do).
    """
    for start, (kind, remedy) in FOREIGN.items():
        if data.startswith(start):
            raise UserError(f"{name} must be a file of rows", f"it is {kind}", remedy)
    if data[TAR.start : TAR.stop] == b"ustar":
        raise UserError(
            f"{name} must be a file of rows",
            "it is a tar archive",
            f"unpack it, then name a file of it: tar -xf {shlex.quote(name)}",
        )
    if data.startswith(ZIP):
        return unpack(_unzip(data, name), name)
    kind = next((k for start, k in PACKED.items() if data.startswith(start)), "")
    if not kind:
        return data
    unpacked = {
        "gzip": gzip.decompress,
        "bzip2": bz2.decompress,
        "xz": lzma.decompress,
        "zstandard": _unpack_zstandard,
    }
    try:
        return unpack(unpacked[kind](data), name)
    except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError, zstandard.ZstdError):
        raise UserError(
            f"{name} must be a whole {kind} file", "it is cut short or broken", "fetch it again"
        ) from None


def _unpack_zstandard(data: bytes) -> bytes:
    """Frame by frame: a reader of the library gives what a cut file has, without a word."""
    parts = []
    while data:
        frame = zstandard.ZstdDecompressor().decompressobj()
        parts.append(frame.decompress(data))
        if not frame.eof:
            raise EOFError
        data = frame.unused_data
    return b"".join(parts)


def _unzip(data: bytes, name: str) -> bytes:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            files = [one for one in archive.namelist() if not one.endswith("/")]
            if "[Content_Types].xml" in files:
                raise UserError(
                    f"{name} must be a file of rows", "it is a workbook", "save it as CSV UTF-8"
                )
            if len(files) == 1:
                return archive.read(files[0])
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, zlib.error, EOFError):
        raise UserError(
            f"{name} must be a whole ZIP file without password",
            "it is cut short, broken or locked",
            f"unpack it yourself: unzip {shlex.quote(name)}",
        ) from None
    raise UserError(
        f"{name} must hold one file",
        f"it is a ZIP of {len(files)}",
        f"unpack it, then name one of them: unzip {shlex.quote(name)}",
    )


def to_text(data: bytes, name: str) -> str:
    """The text: UTF-8, UTF-16 or UTF-32, with or without a byte-order mark.

    A stray byte in a text that is UTF-8 otherwise becomes a lone surrogate (U+DC80 to U+DCFF), so
    that whoever reads the rows can tell which one is broken.

    Raises:
        UserError: it is in another encoding; the command that converts it is named.
    """
    for mark, encoding in MARKS.items():
        if data.startswith(mark):
            return _decode(data[len(mark) :], encoding, name).lstrip("\ufeff")
    return _decode(data, _wide(data) or "utf-8", name)


def _wide(data: bytes) -> str:
    """UTF-16 without a mark: letters with a zero byte beside each."""
    start = data[: SNIFF - SNIFF % 2]
    if len(start) < 4 or len(data) % 2:
        return ""
    even, odd = start[::2].count(0), start[1::2].count(0)
    half = len(start) // 2
    if odd > 0.4 * half and even < 0.05 * half:
        return "utf-16-le"
    if even > 0.4 * half and odd < 0.05 * half:
        return "utf-16-be"
    return ""


def _decode(data: bytes, encoding: str, name: str) -> str:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        start = error.start
    if encoding != "utf-8":
        raise UserError(
            f"{name} must be whole {encoding.upper()} text",
            f"it breaks off at byte {start}",
            "write it again as UTF-8",
        )
    text = data.decode("utf-8", "surrogateescape")
    stray = len(STRAY.findall(text))
    sound = sum(c > "\x7f" for c in text) - stray
    if sound >= stray:  # UTF-8 with a broken character somewhere
        return text
    line = data.count(b"\n", 0, start) + 1
    got = f"line {line} holds the byte 0x{data[start]:02x}"
    if b"\0" in data:
        raise UserError(
            f"{name} must be a file of rows",
            f"{got}, and zeros: it is no text",
            "write the rows as JSONL, CSV or Parquet",
        )
    if not _western(data) or (_has_c1(data) and not _fits(data, "cp1252")):
        raise UserError(
            f"{name} must be UTF-8 text",
            got,
            "it has the encoding of another script: convert it from that, with cp1251 (or "
            "gb18030, "
            f"shift-jis, euc-kr …, whichever then reads right) by: {_convert('cp1251', name)}",
        )
    page, known = ("cp1252", "cp1252 (Windows)") if _windows(data) else ("latin1", "latin1")
    raise UserError(
        f"{name} must be UTF-8 text",
        got,
        f"it looks like {known}: convert it with: {_convert(page, name)}",
    )


def _western(data: bytes) -> bool:
    """Whether bytes above 0x7f stand among others, as accents and quotation marks do; in the code
    pages of other scripts they stand in runs."""
    runs = HIGH.findall(data)
    return 3.5 * len(runs) > sum(map(len, runs))


def _windows(data: bytes) -> bool:
    """Whether it holds what is a character in cp1252 and a control character in Latin-1."""
    return _has_c1(data) and _fits(data, "cp1252")


def _has_c1(data: bytes) -> bool:
    return len(data.translate(None, C1)) < len(data)


def _fits(data: bytes, encoding: str) -> bool:
    try:
        data.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _convert(page: str, name: str) -> str:
    path = PurePath(name)
    new = path.with_name(f"{path.stem}.utf8{path.suffix}")
    return f"iconv -f {page} -t utf-8 {shlex.quote(name)} > {shlex.quote(str(new))}"
