"""Text features, and their standardisation: against slow twins, and bitwise again and again."""

import hashlib
import math
import os
import random
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from threadpoolctl import threadpool_info, threadpool_limits

from whichpairs.errors import UserError
from whichpairs.features.standardise import centre_and_clip, constant_columns
from whichpairs.features.text import MIN_DIM, STYLE, text_features

WORDS = "the a lake stone runs blue slowly under seven hills and rivers of light".split()  # noqa: SIM905
ANSWER = "# Plan\n\n1. Buy 12 **BIG** eggs, milk!\n- Why?\n```\nx\n```\nDone."


def corpus(prompts: int, each: int, seed: int = 0) -> tuple[list[str], list[str]]:
    """Random texts; every prompt has a topic word of its own that all its completions repeat."""
    rng = random.Random(seed)
    asked, answers = [], []
    for p in range(prompts):
        for _ in range(each):
            words = rng.choices(WORDS, k=rng.randint(5, 30)) + [f"topic{p}"] * 9
            rng.shuffle(words)
            asked.append(f"Tell me about topic{p}")
            answers.append(" ".join(words) + rng.choice([".", "!", "?", ""]))
    return asked, answers


# --- text -----------------------------------------------------------------------------------------


def test_style_counts_by_hand() -> None:
    words = "plan 1 buy 12 big eggs milk why x done".split()  # noqa: SIM905
    expected = {
        "log_characters": math.log1p(60),
        "log_words": math.log1p(10),
        "word_length": 29 / 10,
        "log_sentences": math.log1p(4),  # "1." "milk!" "Why?" "Done."
        "log_list_items": math.log1p(2),
        "digit_share": 3 / 60,
        "log_exclamation_marks": math.log1p(1),
        "log_question_marks": math.log1p(1),
        "log_code_fences": math.log1p(2),
        "upper_case_share": 7 / 60,
        "type_token_ratio": 1.0,
        "log_line_breaks": math.log1p(7),
        "log_emphasis": math.log1p(3),
        "prompt_word_share": 2 / 10,
        "log_commas": math.log1p(1),
    }
    assert len(ANSWER) == 60
    found = {name: float(count(ANSWER, words, {"eggs", "milk"})) for name, count in STYLE.items()}
    assert found == pytest.approx(expected)


def within_spread(x: np.ndarray, prompts: list[str]) -> np.ndarray:
    """Standard deviation of every column around its prompt's mean, one prompt at a time."""
    squares = np.zeros(x.shape[1])
    for prompt in set(prompts):
        rows = x[[p == prompt for p in prompts]].astype(np.float64)
        squares += ((rows - rows.mean(axis=0)) ** 2).sum(axis=0)
    return np.sqrt(squares / len(x))


def test_columns_have_their_promised_scale() -> None:
    prompts, completions = corpus(12, 8)
    x = text_features(prompts, completions, dim=24, seed=0)
    assert x.dtype == np.float32
    assert x.shape == (96, 24)
    spread = within_spread(x, prompts)
    style = spread[: len(STYLE)]
    moving = style > 1e-6
    np.testing.assert_allclose(style[moving], 1.0, rtol=1e-4)
    names = np.array(list(STYLE))
    assert {"log_characters", "type_token_ratio", "log_question_marks"} <= set(names[moving])
    assert {"log_code_fences", "log_list_items", "log_line_breaks"} <= set(names[~moving])
    directions = spread[len(STYLE) :]
    assert directions[0] == pytest.approx(1.0, abs=1e-3)
    assert (np.diff(directions) <= 1e-6).all()


def test_directions_are_the_svd_of_tfidf_centred_within_prompts() -> None:
    """The slow twin: dense TF-IDF, centred prompt by prompt, LAPACK's SVD."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    prompts, completions = corpus(4, 5)  # rank 16 after centring, so the random basis spans it
    x = text_features(prompts, completions, dim=len(STYLE) + 6, seed=3)[:, len(STYLE) :]
    tfidf = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2), token_pattern=r"\b\w+\b")
    dense = tfidf.fit_transform(completions).toarray()
    centred = dense.copy()
    for start in range(0, 20, 5):
        centred[start : start + 5] -= dense[start : start + 5].mean(axis=0)
    _left, values, right = np.linalg.svd(centred, full_matrices=False)
    expected = dense @ right[:6].T * math.sqrt(20) / values[0]
    signs = np.sign((expected * x).sum(axis=0))
    np.testing.assert_allclose(x, expected * signs, atol=1e-4)


@pytest.mark.slow
def test_bits_do_not_depend_on_the_process_or_on_threads() -> None:
    texts = corpus(60, 10)
    found = set()
    for threads in (1, 2):
        with threadpool_limits(threads):
            found.add(hashlib.sha256(text_features(*texts, dim=40, seed=1)).hexdigest())
    script = (
        "import hashlib, sys; sys.path.insert(0, 'tests')\n"
        "from test_text_features import corpus\n"
        "from whichpairs.features.text import text_features\n"
        "print(hashlib.sha256(text_features(*corpus(60, 10), dim=40, seed=1)).hexdigest())"
    )
    run = subprocess.run(
        [sys.executable, "-c", script],
        cwd=Path(__file__).parents[1],
        env=os.environ | {"PYTHONHASHSEED": "7", "OMP_NUM_THREADS": "2"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert found == {run.stdout.strip()}


def test_sums_are_not_split_over_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small sums happen to agree over threads; large ones need not."""
    seen: set[int] = set()
    svd = np.linalg.svd

    def spy(*args: Any, **options: Any) -> Any:
        seen.update(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas")
        return svd(*args, **options)

    monkeypatch.setattr(np.linalg, "svd", spy)
    with threadpool_limits(2):
        text_features(*corpus(3, 3), dim=MIN_DIM, seed=0)
    assert seen == {1}


def test_the_seed_changes_hardly_anything() -> None:
    prompts, completions = corpus(20, 8)
    a, b = (text_features(prompts, completions, dim=25, seed=s) for s in (0, 1))
    np.testing.assert_array_equal(a[:, : len(STYLE)], b[:, : len(STYLE)])
    gaps = [((x[:, None] - x) ** 2).sum(axis=2) for x in (a, b)]
    assert np.corrcoef(gaps[0].ravel(), gaps[1].ravel())[0, 1] > 0.95


def test_rows_move_with_their_texts() -> None:
    prompts, completions = corpus(15, 6)
    order = np.random.default_rng(0).permutation(90)
    x = text_features(prompts, completions, dim=22, seed=0)
    y = text_features([prompts[i] for i in order], [completions[i] for i in order], dim=22, seed=0)
    gap = (x[order][:, None] - x[order]) ** 2 - (y[:, None] - y) ** 2
    np.testing.assert_allclose(gap.sum(axis=2), 0, atol=1e-2)


@pytest.mark.parametrize(
    "completions",
    [
        ["a"],
        ["!!!", "???", "..."],
        ["same text", "same text too"],
        ["", " ", "\n"],
        ["a" * 200_000, "." * 200_000 + "x", "\n" * 200_000, "1" * 200_000],
        ["漢字", "仮名 と", "\x00\x1b", "é\u0301 \u202e"],
    ],
)
def test_odd_pools_give_finite_features(completions: list[str]) -> None:
    x = text_features(["p"] * len(completions), completions, dim=MIN_DIM, seed=0)
    assert len(x) == len(completions)
    assert len(STYLE) <= x.shape[1] <= MIN_DIM
    assert np.isfinite(x).all()


def test_every_prompt_alone_has_no_direction() -> None:
    x = text_features(["p", "q"], ["one text", "another text"], dim=32, seed=0)
    assert x.shape == (2, len(STYLE))


def test_text_mistakes() -> None:
    assert len(STYLE) + 3 == MIN_DIM == 18
    with pytest.raises(UserError, match=r"dim must be at least 18 .* got 17"):
        text_features(["p"], ["a"], dim=17, seed=0)
    with pytest.raises(UserError, match="at least one completion"):
        text_features([], [], dim=32, seed=0)
    with pytest.raises(ValueError, match="2 prompts for 1"):
        text_features(["p", "q"], ["a"], dim=32, seed=0)


# --- standardise ----------------------------------------------------------------------------------


def slow_standardise(
    x: np.ndarray, starts: np.ndarray, clip: float | None, standardise: bool
) -> np.ndarray:
    """The same, value by value."""

    def centre(rows: np.ndarray) -> np.ndarray:
        out = rows.astype(np.float64).copy()
        for a, b in pairwise(starts):
            for c in range(x.shape[1]):
                if b > a:
                    out[a:b, c] -= math.fsum(rows[a:b, c]) / (b - a)
        return out

    z = centre(x)
    for c in range(x.shape[1]):
        spread = math.sqrt(math.fsum(v * v for v in z[:, c]) / len(z))
        if clip is not None:
            z[:, c] = [min(max(v, -clip * spread), clip * spread) for v in z[:, c]]
        if standardise and spread > 1e-9:
            z[:, c] /= spread
    return z if clip is None else centre(z)


@settings(max_examples=80, deadline=None)
@given(
    x=hnp.arrays(
        np.float64,
        st.tuples(st.integers(4, 12), st.integers(1, 3)),
        elements=st.integers(-50, 50).map(float),
    ),
    cuts=st.lists(st.integers(0, 4), max_size=3),
    clip=st.sampled_from([None, 0.5, 1.0, 2.5]),
    standardise=st.booleans(),
)
def test_standardising_matches_the_slow_twin(
    x: np.ndarray, cuts: list[int], clip: float | None, standardise: bool
) -> None:
    starts = np.array([0, *sorted(cuts), len(x)])
    expected = slow_standardise(x, starts, clip, standardise)
    if not any(np.ptp(x[a:b], axis=0).any() for a, b in pairwise(starts) if b > a):
        with pytest.raises(UserError, match="constant within every prompt"):
            centre_and_clip(x, starts, clip=clip, standardise=standardise)
        return
    before = x.copy()
    found = centre_and_clip(x, starts, clip=clip, standardise=standardise)
    np.testing.assert_allclose(found, expected, atol=1e-9)
    np.testing.assert_array_equal(x, before)
    if standardise:
        shifted = 7.0 * x + np.arange(len(starts) - 1).repeat(np.diff(starts))[:, None]
        np.testing.assert_allclose(centre_and_clip(shifted, starts, clip=clip), found, atol=1e-9)


def test_standardising_by_hand() -> None:
    x = np.array([[0.0, 5.0], [2.0, 5.0], [10.0, 7.0], [12.0, 7.0]])
    found = centre_and_clip(x, np.array([0, 2, 4]))
    np.testing.assert_allclose(found, [[-1, 0], [1, 0], [-1, 0], [1, 0]], rtol=1e-15)
    assert constant_columns(found) == 1
    again = centre_and_clip(x, np.array([0, 2, 2, 4, 4]))  # prompts without completions
    np.testing.assert_array_equal(again, found)
    far = np.array([[0.0]] * 9 + [[10.0]])  # mean 1, spread 3: the last is 3 spreads away
    found = centre_and_clip(far, np.array([0, 10]), clip=2.5)
    low = -1 / 3 - (2.5 - 9 / 3) / 10
    np.testing.assert_allclose(found[:, 0], [low] * 9 + [-9 * low])
    kept = centre_and_clip(far, np.array([0, 10]), clip=2.5, standardise=False)
    np.testing.assert_allclose(kept, 3 * found)


@pytest.mark.parametrize("value", [1e9, 0.1, 1e-300, 1e300])
def test_constant_columns_are_exactly_zero_at_any_scale(value: float) -> None:
    rng = np.random.default_rng(0)
    starts = np.arange(0, 111, 11)
    moving = value * rng.standard_normal((110, 1))
    x = np.hstack([moving, np.repeat(value * rng.random((10, 1)), 11, axis=0)])
    found = centre_and_clip(x, starts)
    assert constant_columns(found) == 1
    assert not found[:, 1].any()
    np.testing.assert_allclose(found[:, 0], centre_and_clip(moving / value, starts)[:, 0])


def test_standardising_mistakes() -> None:
    starts = np.array([0, 1, 3])
    x = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, np.nan]])
    with pytest.raises(UserError, match=r"row 2, column 1 .* is nan"):
        centre_and_clip(x, starts)
    x[2, 1], x[1, 0] = 4.0, np.inf
    with pytest.raises(UserError, match=r"row 1, column 0 .* is inf"):
        centre_and_clip(x, starts)
    flat = np.array([[1.0], [2.0], [2.0]])
    with pytest.raises(UserError, match="features are constant within every prompt"):
        centre_and_clip(flat, starts)
    for clip in (0.0, -1.0, math.nan):
        with pytest.raises(UserError, match="clip must be"):
            centre_and_clip(np.eye(3), starts, clip=clip)
    with pytest.raises(ValueError, match="starts must cut"):
        centre_and_clip(np.eye(4), starts)
