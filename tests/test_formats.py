"""What a file is, its bytes say: packings, encodings, delimiters, and every way to write JSON."""

import bz2
import gzip
import io
import json
import lzma
import shlex
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import zstandard

from whichpairs.errors import UserError
from whichpairs.pool.raw.sources import load_bytes, load_file, read_text

CASES = Path(__file__).parents[2] / "shared" / "cases"
ROWS = [{"prompt": "A?", "completion": "“é”"}, {"prompt": "A?", "completion": "x\n2"}]
LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)
FRAME = pl.DataFrame(ROWS)


def arrow() -> bytes:
    memory = io.BytesIO()
    FRAME.write_ipc(memory)
    return memory.getvalue()


def parquet() -> bytes:
    memory = io.BytesIO()
    FRAME.write_parquet(memory)
    return memory.getvalue()


def zipped(*names: str) -> bytes:
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w") as archive:
        for name in names:
            archive.writestr(name, LINES)
    return memory.getvalue()


def csv(delimiter: str = ",", before: str = "", after: str = "") -> str:
    rows = [("prompt", "completion"), ("A?", "“é”"), ("A?", '"x\n2"')]
    return before + "".join(delimiter.join(row) + after + "\r\n" for row in rows)


UTF8 = LINES.encode()
READ: dict[str, tuple[str, bytes]] = {
    "gzip": ("p.jsonl.gz", gzip.compress(UTF8)),
    "gzip, renamed": ("p.jsonl", gzip.compress(UTF8)),
    "gzip in two members": ("p.jsonl", b"".join(gzip.compress(p) for p in UTF8.splitlines(True))),
    "zstandard": ("p.jsonl.zst", zstandard.compress(UTF8)),
    "zstandard in two frames": (
        "p",
        b"".join(zstandard.compress(p) for p in UTF8.splitlines(True)),
    ),
    "bzip2": ("p.jsonl.bz2", bz2.compress(UTF8)),
    "xz": ("p.jsonl.xz", lzma.compress(UTF8)),
    "a ZIP of one file": ("p.zip", zipped("p.jsonl")),
    "gzipped CSV": ("p.csv.gz", gzip.compress(csv().encode())),
    "gzipped Parquet": ("p.parquet.gz", gzip.compress(parquet())),
    "Parquet called otherwise": ("p.bin", parquet()),
    "Arrow": ("p.feather", arrow()),
    "UTF-8 with a mark": ("p.jsonl", b"\xef\xbb\xbf" + UTF8),
    "UTF-16 with a mark": ("p.jsonl", LINES.encode("utf-16")),
    "UTF-16, big end first": ("p.jsonl", b"\xfe\xff" + LINES.encode("utf-16-be")),
    "UTF-16 without a mark": ("p.jsonl", LINES.encode("utf-16-le")),
    "UTF-32": ("p.jsonl", LINES.encode("utf-32")),
    "UTF-16 CSV with tabs, as Excel saves it": ("p.csv", csv("\t").encode("utf-16")),
    "commas": ("p.csv", csv().encode()),
    "semicolons": ("p.csv", csv(";").encode()),
    "tabs": ("p.tsv", csv("\t").encode()),
    "tabs, called CSV": ("p.csv", csv("\t").encode()),
    "bars": ("p.csv", csv("|").encode()),
    "sep=": ("p.csv", csv(";", "sep=;\r\n").encode()),
    "sep= of a rare delimiter": ("p.csv", csv("^", "sep=^\n").encode()),
    "a delimiter at the end of every row": ("p.csv", csv(",", after=",").encode()),
    "JSON called CSV": ("p.csv", UTF8),
    "CSV in capitals": ("P.CSV", csv().encode()),
    "line ends of old Macs": ("p.jsonl", LINES.replace("\n", "\r").encode()),
    "a list": ("p.json", json.dumps(ROWS).encode()),
    "a list, called .jsonl": ("p.jsonl", json.dumps(ROWS, indent=1).encode()),
    "lines, called .json": ("p.json", UTF8),
    "lines, without a suffix": ("p", UTF8),
    "under data": ("p.json", json.dumps({"version": 1, "data": ROWS}, indent=2).encode()),
    "objects over several lines": (
        "p.jsonl",
        "\n".join(json.dumps(r, indent=2) for r in ROWS).encode(),
    ),
    "pandas, by columns": (
        "p.json",
        json.dumps({n: {str(i): r[n] for i, r in enumerate(ROWS)} for n in ROWS[0]}).encode(),
    ),
    "pandas, by columns, called .jsonl": (
        "p.jsonl",
        json.dumps({n: {str(i): r[n] for i, r in enumerate(ROWS)} for n in ROWS[0]}).encode(),
    ),
    "pandas, by index": (
        "p.json",
        json.dumps({str(i): row for i, row in enumerate(ROWS)}).encode(),
    ),
    "two files in one, each with a byte-order mark": (
        "p.jsonl",
        "".join(f"\ufeff{json.dumps(row)}\n" for row in ROWS).encode(),
    ),
    "a comma after each line": ("p.jsonl", "".join(f"{json.dumps(r)},\n" for r in ROWS).encode()),
    "packed twice": ("p.jsonl.gz", gzip.compress(gzip.compress(UTF8))),
    "called .parquet": ("p.parquet", UTF8),
    "pandas, split": (
        "p.json",
        json.dumps(
            {"columns": list(ROWS[0]), "index": [0, 1], "data": [list(r.values()) for r in ROWS]}
        ).encode(),
    ),
}


@pytest.mark.parametrize("name", READ)
def test_the_same_rows_from_every_form(tmp_path: Path, name: str) -> None:
    suffix, data = READ[name]
    source = load_bytes(data, suffix)
    assert {n: source.values(n) for n in source.columns} == FRAME.to_dict(as_series=False)
    assert not source.odd
    path = tmp_path / suffix
    path.write_bytes(data)
    again = load_file(path)
    assert {n: again.values(n) for n in again.columns} == FRAME.to_dict(as_series=False)


@pytest.mark.parametrize("between", ["\r", "", " , "])
def test_several_objects_on_a_line_are_as_many_rows(between: str) -> None:
    line = between.join(map(json.dumps, ROWS))
    source = load_bytes(f"{line}\n{line}\n".encode(), "p.jsonl")
    assert not source.odd
    assert source.numbers == [1, 1, 2, 2]
    assert source.values("prompt") == [row["prompt"] for row in ROWS] * 2


REFUSED: dict[str, tuple[str, bytes, str]] = {
    "gzip cut short": ("p.gz", gzip.compress(UTF8)[:-9], "must be a whole gzip file"),
    "zstandard cut short": ("p", zstandard.compress(UTF8)[:-9], "must be a whole zstandard file"),
    "bzip2 broken": ("p", b"BZh9" + b"x" * 40, "must be a whole bzip2 file"),
    "a ZIP of two": ("p.zip", zipped("a.jsonl", "b.jsonl"), "a ZIP of 2"),
    "a workbook": ("p.xlsx", zipped("[Content_Types].xml"), "save it as CSV"),
    "an old workbook": ("p.xls", b"\xd0\xcf\x11\xe0" + bytes(9), "save it as CSV"),
    "a page": ("p.jsonl", b"<!DOCTYPE html><html>", "an HTML page"),
    "Git LFS": ("p.parquet", b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
    "UTF-16 cut short": ("p.jsonl", LINES.encode("utf-16")[:-1], "must be whole UTF-16"),
    "JSON cut short": ("p.json", json.dumps(ROWS).encode()[:-5], "the file is cut short"),
    "lines cut short": ("p.jsonl", UTF8[:-9], "line 2 of p.jsonl"),
    "rows under another name": ("p.json", json.dumps({"rows": ROWS}).encode(), "jq -c '.rows[]'"),
    "a lone text": ("p.json", b'"a"', "must hold JSON objects"),
    "Latin-1": ("p.csv", "prompt\né\n".encode("latin1"), "iconv -f latin1 -t utf-8 p.csv > "),
    "a tar archive": (
        "p.tar.gz",
        gzip.compress(bytes(257) + b"ustar" + bytes(250)),
        "tar -xf p.tar.gz",
    ),
    "Japanese": (
        "p.csv",
        "prompt\n質問は何ですか\n".encode("shift-jis"),
        "the encoding of another script",
    ),
    "Chinese": ("p.csv", "prompt\n问题是什么\n".encode("gb18030"), "gb18030"),
    "a pickle": ("p.jsonl", b"\x80\x04\x95\x0f\x00\x00\x00\x8c\x06prompt\x94.", "it is no text"),
    "Python's quotes": ("p.jsonl", b"{'prompt': 'x'}\n{'prompt': 'y'}\n", "json.dumps"),
    "a number without end": ("p.jsonl", b'{"a": 1' + b"0" * 5000 + b"}", "thousands of digits"),
    "no Parquet": ("p.parquet", b"hello", "does not begin as one"),
    "two headers": ("p.csv", b"prompt,x\nprompt,x\n", "line 2 of p.csv repeats it"),
    "Windows": ("p.csv", "prompt\n“é”\n".encode("cp1252"), "iconv -f cp1252 -t utf-8 p.csv > "),
    "unmatched quotes": ("p.csv", b'prompt,x\n"a"b,c\n', "line 2 of p.csv"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_says_why(name: str) -> None:
    suffix, data, wanted = REFUSED[name]
    with pytest.raises(UserError) as caught:
        load_bytes(data, suffix)
    assert wanted in str(caught.value)
    assert "Error" not in str(caught.value)


@pytest.mark.parametrize("page", ["cp1252", "latin1"])
def test_the_cure_for_another_encoding_cures(tmp_path: Path, page: str) -> None:
    letters = "“naïve” €" if page == "cp1252" else "naïve ÿ"
    path = tmp_path / "it's mine.csv"
    path.write_bytes(f"prompt,completion\nA?,{letters}\n".encode(page))
    with pytest.raises(UserError) as caught:
        load_file(path)
    command = str(caught.value).partition("convert it with: ")[2]
    subprocess.run(command, shell=True, check=True)
    new = Path(shlex.split(command)[-1])
    assert new.suffix == ".csv"
    assert load_file(new).values("completion") == [letters]


def test_a_row_that_is_broken_is_set_apart() -> None:
    lines = [json.dumps({"a": f"é{i}"}).replace("\\u00e9", "é").encode() for i in range(5)]
    lines[1] = b'{"a": \xff}'
    lines[2] = b'{"a": '
    lines[3] = b'["a"]'
    source = load_bytes(b"\n".join(lines) + b"\n", "p.jsonl")
    assert source.values("a") == ["é0", "é4"]
    assert list(source.numbers) == [1, 5]
    assert source.rows_read == 5
    assert [o.number for o in source.odd] == [2, 3, 4]
    assert "line 2 of p.jsonl holds the byte 0xff" in source.odd[0].received
    assert "line 3 of p.jsonl: no value begins" in source.odd[1].received
    assert 'line 4 of p.jsonl is ["a"]' in source.odd[2].received
    table = load_bytes("a,b\né,1\né,2,3\n".encode() + b"\xff,4\n1\n2,5,,\n", "p.csv")
    assert table.values("b") == ["1", "5"]
    assert [o.number for o in table.odd] == [3, 4, 5]
    assert "0xff" in table.odd[1].received
    first = load_bytes(b'{"a" 1}\n{"a": 2}\n{"a": 3}\n', "p.jsonl")
    assert first.values("a") == [2, 3]
    assert [o.number for o in first.odd] == [1]


def test_one_row_is_a_row_and_not_a_table() -> None:
    row: dict[str, Any] = {"chosen": {"role": "a", "content": "b"}, "rejected": {"role": "a"}}
    for text in (json.dumps(row), json.dumps(row, indent=2)):
        source = load_bytes(text.encode(), "p.jsonl")
        assert source.values("chosen") == [row["chosen"]]


def test_prompts_of_a_packed_text(tmp_path: Path) -> None:
    path = tmp_path / "prompts.txt"
    path.write_bytes(gzip.compress("One é\nTwo\n".encode("utf-16")))
    assert read_text(path) == "One é\nTwo\n"
    path.write_bytes("One é é\n".encode() + b"\xff\n")
    with pytest.raises(UserError, match="line 2 holds the byte 0xff"):
        read_text(path)


@pytest.mark.skipif(not CASES.is_dir(), reason="the shared cases are not on this machine")
@pytest.mark.parametrize(
    ("file", "rows"),
    [
        *((f"compressed/{n}", 2) for n in ("p.jsonl", "p.jsonl.gz", "p.jsonl.zst", "p.jsonl.bz2")),
        ("compressed/renamed.jsonl", 2),
        ("csv/excel.csv", 2),
        ("csv/t.tsv", 2),
        ("unicode/utf16.jsonl", 4),
        ("unicode/cr.jsonl", 2),
        ("unicode/crlf_bom.jsonl", 4),
    ],
)
def test_the_shared_files(file: str, rows: int) -> None:
    source = load_file(CASES / file)
    assert len(source.numbers) >= min(rows, 2)
    assert list(source.columns)[:2] == ["prompt", "completion"]


@pytest.mark.skipif(not CASES.is_dir(), reason="the shared cases are not on this machine")
@pytest.mark.parametrize("file", ["unicode/cp1252.csv", "unicode/latin1.jsonl"])
def test_the_shared_code_pages(file: str) -> None:
    page = "cp1252" if "cp" in file else "latin1"
    with pytest.raises(UserError, match=f"iconv -f {page} "):
        load_file(CASES / file)
