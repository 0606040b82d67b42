"""Text features without a language model: style counts, and directions of TF-IDF.

The directions are those along which completions OF THE SAME PROMPT differ: the randomised SVD
(Halko, Martinsson and Tropp, SIAM Review 53, 2011) runs on TF-IDF rows centred within prompts, so
none is spent on the topic of the prompt, which no comparison can ever touch.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from whichpairs.errors import UserError
from whichpairs.streams import Stream, stream

DEFAULT_DIM = 32
CHARACTERS = 4_000
"""TF-IDF reads this much of a completion; the style counts read all of it."""
VOCABULARY_SAMPLE = 20_000
"""At most so many completions, evenly spread, decide which terms are counted."""
MAX_TERMS = 30_000
POWER_ITERATIONS = 4
OVERSAMPLING = 10

_WORD = re.compile(r"\w+")
_SENTENCE_END = re.compile(r"[.!?](?=\s|$)")
_LIST_ITEM = re.compile(r"^[ \t]*(?:[-*•]|\d+[.)])\s", re.MULTILINE)
_EMPHASIS = re.compile(r"\*\*|^#+ ", re.MULTILINE)

STYLE: dict[str, Callable[[str, list[str], set[str]], float]] = {
    "log_characters": lambda text, words, asked: np.log1p(len(text)),
    "log_words": lambda text, words, asked: np.log1p(len(words)),
    "word_length": lambda text, words, asked: sum(map(len, words)) / max(len(words), 1),
    "log_sentences": lambda text, words, asked: np.log1p(len(_SENTENCE_END.findall(text))),
    "log_list_items": lambda text, words, asked: np.log1p(len(_LIST_ITEM.findall(text))),
    "digit_share": lambda text, words, asked: sum(map(str.isdigit, text)) / max(len(text), 1),
    "log_exclamation_marks": lambda text, words, asked: np.log1p(text.count("!")),
    "log_question_marks": lambda text, words, asked: np.log1p(text.count("?")),
    "log_code_fences": lambda text, words, asked: np.log1p(text.count("```")),
    "upper_case_share": lambda text, words, asked: sum(map(str.isupper, text)) / max(len(text), 1),
    "type_token_ratio": lambda text, words, asked: len(set(words)) / max(len(words), 1),
    "log_line_breaks": lambda text, words, asked: np.log1p(text.count("\n")),
    "log_emphasis": lambda text, words, asked: np.log1p(len(_EMPHASIS.findall(text))),
    "prompt_word_share": lambda text, words, asked: (
        sum(word in asked for word in words) / max(len(words), 1)
    ),
    "log_commas": lambda text, words, asked: np.log1p(text.count(",")),
}
"""The style counts by name: functions of the text, its lower-case words and the prompt's words."""

MIN_DIM = len(STYLE) + 3


def text_features(
    prompts: Sequence[str], completions: Sequence[str], *, dim: int = DEFAULT_DIM, seed: int = 0
) -> np.ndarray:
    """φ(x, y) from the text alone: style counts, then directions of within-prompt TF-IDF.

    Columns come with their scale: a style count has within-prompt standard deviation 1, direction
    k has s_k/s_1 of it (s: the singular values), which the ridge and the prior
    then use. On AlpacaEval (labels of held-out prompts) this was never worse than standardising the
    directions too, and better the larger `dim` or the fewer the labels.

    The same arguments give the same bits, whatever the number of BLAS threads.

    Args:
        prompts: the prompt x of every row (n strings); equal strings are the same prompt.
        completions: the completion y of every row (n strings).
        dim: columns wanted, style counts (`STYLE`) included; at least `MIN_DIM`.
        seed: of the randomised SVD.

    Returns:
        float32 (n, d) with d ≤ `dim`: fewer where the texts do not differ in that many directions.

    Raises:
        UserError: `dim` is too small, or there is no completion.
    """
    if dim < MIN_DIM:
        raise UserError(
            f"dim must be at least {MIN_DIM} ({len(STYLE)} style counts, 3 directions of text)",
            f"got {dim}",
            f"the default is {DEFAULT_DIM}",
        )
    if len(prompts) != len(completions):
        raise ValueError(f"{len(prompts)} prompts for {len(completions)} completions")
    if not completions:
        raise UserError("text features need at least one completion", "got none")
    centre = _centring(prompts)
    style = _style(prompts, completions)
    spread = centre(style).std(axis=0)
    style /= np.where(spread > 1e-12 * np.abs(style).max(axis=0), spread, 1.0)
    with threadpool_limits(1):  # sums split over threads would change the last bits
        directions = _directions(_tfidf(completions), dim - len(STYLE), centre, seed)
    return np.hstack([style, directions]).astype(np.float32)


def _centring(prompts: Sequence[str]) -> Callable[[np.ndarray], np.ndarray]:
    """The map that takes from every row (n, k) the mean over the rows of its prompt."""
    from scipy.sparse import csr_array

    number: dict[str, int] = {}
    group = np.array([number.setdefault(prompt, len(number)) for prompt in prompts])
    share = 1.0 / np.bincount(group)[group]
    means = csr_array((share, (group, np.arange(len(group)))), shape=(len(number), len(group)))
    return lambda rows: np.asarray(rows - (means.astype(rows.dtype) @ rows)[group])


def _style(prompts: Sequence[str], completions: Sequence[str]) -> np.ndarray:
    """The style counts, float64 (n, len(STYLE))."""
    asked: dict[str, set[str]] = {}
    table = np.empty((len(completions), len(STYLE)))
    for row, (prompt, text) in enumerate(zip(prompts, completions, strict=True)):
        if prompt not in asked:
            asked[prompt] = set(_WORD.findall(prompt.lower()))
        words = _WORD.findall(text.lower())
        table[row] = [count(text, words, asked[prompt]) for count in STYLE.values()]
    return table


def _tfidf(completions: Sequence[str]) -> Any:
    """TF-IDF of words and pairs of words, float32 csr (n, terms); no term where no word is left."""
    from scipy.sparse import csr_matrix
    from sklearn.feature_extraction.text import TfidfVectorizer

    texts = [text[:CHARACTERS] for text in completions]
    sample = texts[:: -(-len(texts) // VOCABULARY_SAMPLE)]
    vectorizer = TfidfVectorizer(
        sublinear_tf=True,
        ngram_range=(1, 2),
        token_pattern=r"(?u)\b\w+\b",
        min_df=min(5, 1 + len(sample) // 250),
        max_features=MAX_TERMS,
        dtype=np.float32,
    )
    try:
        return vectorizer.fit(sample).transform(texts)
    except ValueError:  # scikit-learn's word for an empty vocabulary
        return csr_matrix((len(texts), 0), dtype=np.float32)


def _directions(
    matrix: Any, k: int, centre: Callable[[np.ndarray], np.ndarray], seed: int
) -> np.ndarray:
    """X V √n/s_1, where V are the k leading right singular vectors of C X (C centres in prompts).

    C is a projection, so (C X)ᵀ(C X) = Xᵀ C X and the sparse X is never made dense. Directions
    whose singular value is rounding noise are left out, so there may be fewer than k.
    """
    rng = stream(seed, Stream.FEATURES)
    size = min(k + OVERSAMPLING, *matrix.shape)
    basis = rng.standard_normal((matrix.shape[1], size), dtype=np.float32)
    for _ in range(POWER_ITERATIONS):
        basis, _upper = np.linalg.qr(matrix.T @ centre(matrix @ basis))
    _left, values, right = np.linalg.svd(centre(matrix @ basis), full_matrices=False)
    kept = min(k, int(np.sum(values > 1e-4 * values.max(initial=1e-30))))
    axes = basis @ right[:kept].T
    if not kept:
        return np.asarray(matrix @ axes)
    axes *= np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(kept)])
    return np.asarray(matrix @ axes) * np.float32(matrix.shape[0] ** 0.5 / values[0])
