"""No two purposes draw the same random numbers."""

import re
from itertools import product
from pathlib import Path

import numpy as np

import whichpairs
from whichpairs.streams import Stream, bench_stream, derived_seed, stream, stream_of

SOURCE = Path(whichpairs.__file__).parent


def first(rng: np.random.Generator) -> int:
    return int(rng.integers(2**63))


def test_no_two_streams_share_a_number() -> None:
    """Whatever they count: the k-th of one is no other's."""
    indices = [(), *((k,) for k in (1, 2, 9, 21)), (1, 2), (10, 11)]
    drawn = [first(stream(5, name, *index)) for name, index in product(Stream, indices) if name]
    drawn += [first(stream(5, Stream.FEATURES))]
    drawn += [first(stream_of(5, name)) for name in ("ab~cd", "h.0.mlp", "M.1", "00")]
    assert len(set(drawn)) == len(drawn)


def test_keys_are_what_they_were() -> None:
    """Runs that were made hang on them."""
    kept = {"FEATURES": 0, "HOLDOUT": 1, "FOLDS": 2, "PICK": 3, "CONTROLS": 4, "BELIEF": 5}
    assert {name: int(Stream[name]) for name in kept} == kept
    assert first(stream(8, Stream.FEATURES)) == first(np.random.default_rng(8))
    assert first(stream(8, Stream.PICK, 20)) == first(np.random.default_rng([8, 3, 20]))
    assert first(stream_of(8, "ab", 2)) == first(np.random.default_rng([8, 97, 98, 2]))
    assert first(bench_stream(8, 1, 21)) == first(np.random.default_rng([8, 1, 21]))
    assert [derived_seed(8, 0), derived_seed(8, 1)] == [8, 3990686019]


def test_keys_stand_in_one_place() -> None:
    """A key of several numbers elsewhere could be another purpose's; so could a run's bare seed."""
    found = []
    for path in sorted(SOURCE.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        key = re.search(r"default_rng\(\s*[\[(]", text) is not None
        bare = "bench" not in path.parts and "default_rng(" in text
        if path.name != "streams.py" and (key or bare):
            found.append(path.name)
    assert found == []
