"""The proxy reward that needs scikit-learn alone: TF-IDF and a logistic regression."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from jaxtyping import Float32, Float64

from whichpairs.errors import UserError, plainly
from whichpairs.wording import counted

if TYPE_CHECKING:
    from sklearn.feature_extraction.text import CountVectorizer

KIND = "linear-text"
SETTINGS_FILE = "reward.json"
ARRAYS_FILE = "reward.npy"
TOKEN_PATTERN = r"(?u)\b\w\w+\b"  # scikit-learn's own: words of two or more characters
REMEDY = (
    "Make one with LinearTextReward.fit(texts, labels).save(folder), or train "
    "recipes/imdb/train_reward.py"
)


@dataclass(frozen=True, eq=False)
class LinearTextReward:
    """The logit of "positive" under a logistic regression on TF-IDF features.

    With c_j the count of term j in a text, its score is ``b + Σ_j w_j v_j / ‖v‖₂`` where
    ``v_j = (1 + ln c_j) idf_j`` for the terms that occur and 0 for the others.

    Attributes:
        vocabulary: the terms, words and n-grams of words joined by one space, all different, shape
            (terms,).
        idf: inverse document frequencies, positive, shape (terms,).
        weights: the regression's weights w, in logits, shape (terms,).
        intercept: the regression's intercept b, in logits; the score of a text without any known
            term.
        ngram_range: the shortest and the longest n-gram that are counted.

    Raises:
        UserError: if the arrays do not fit the vocabulary, or hold anything that is not a finite
            number.
    """

    vocabulary: tuple[str, ...]
    idf: Float32[np.ndarray, " terms"]
    weights: Float32[np.ndarray, " terms"]
    intercept: float
    ngram_range: tuple[int, int] = (1, 2)

    name: ClassVar[str] = KIND

    def __post_init__(self) -> None:
        terms = len(self.vocabulary)
        if terms == 0 or len(set(self.vocabulary)) != terms:
            raise UserError(
                "the vocabulary of a linear text reward must hold one or more terms, all different",
                f"got {terms} terms, {len(set(self.vocabulary))} of them different",
                REMEDY,
            )
        for label, array in (("idf", self.idf), ("weights", self.weights)):
            if array.shape != (terms,) or not np.isfinite(array).all():
                raise UserError(
                    f"{label} must hold one finite number for each of the {terms} terms",
                    f"got shape {array.shape}, {int(np.isfinite(array).sum())} numbers finite",
                    REMEDY,
                )
        low, high = self.ngram_range
        if not math.isfinite(self.intercept) or not 1 <= low <= high:
            raise UserError(
                "the intercept must be finite and the n-gram range must satisfy 1 ≤ shortest ≤ "
                "longest",
                f"got {self.intercept} and {self.ngram_range}",
                REMEDY,
            )

    @classmethod
    def fit(
        cls,
        texts: Sequence[str],
        labels: Sequence[int],
        max_features: int = 25_000,
        *,
        regularisation: float = 4.0,
        ngram_range: tuple[int, int] = (1, 2),
        sparse: bool = False,
    ) -> LinearTextReward:
        """Fit the reward to labelled texts; deterministic.

        Args:
            texts: the n documents.
            labels: n numbers, 1 for positive and 0 for negative.
            max_features: how many terms to keep, the most frequent first.
            regularisation: scikit-learn's C, the inverse strength of the ridge on the weights,
                positive.
            ngram_range: the shortest and the longest n-gram that are counted.
            sparse: penalise the sum of absolute weights (lasso), which leaves most terms without
                one.

        Returns:
            The reward, its arrays rounded to float32, so that a saved copy scores exactly alike.

        Raises:
            UserError: if there is not one label a text, or the labels are not 0 and 1 with both
                present.
        """
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression

        target = np.asarray(labels)
        if target.shape != (len(texts),) or set(np.unique(target).tolist()) != {0, 1}:
            raise UserError(
                "fitting a reward needs one label a text, 1 for positive and 0 for negative, and "
                "both present",
                f"got {counted(len(texts), 'text')} and labels of shape {target.shape}"
                f" with the values {np.unique(target).tolist()[:5]}",
                "Map the ratings to 0 and 1 first",
            )
        vectorizer = TfidfVectorizer(
            max_features=max_features,
            ngram_range=ngram_range,
            sublinear_tf=True,
            token_pattern=TOKEN_PATTERN,
        )
        features = vectorizer.fit_transform(texts)
        model = LogisticRegression(
            C=regularisation,
            l1_ratio=1.0 if sparse else 0.0,
            solver="liblinear" if sparse else "lbfgs",
            max_iter=1000,
            random_state=0,
        ).fit(features, target.astype(np.int64))
        return cls(
            vocabulary=tuple(str(term) for term in vectorizer.get_feature_names_out()),
            idf=vectorizer.idf_.astype(np.float32),
            weights=model.coef_[0].astype(np.float32),
            intercept=float(np.float32(model.intercept_[0])),
            ngram_range=ngram_range,
        )

    def __call__(self, texts: Sequence[str]) -> Float64[np.ndarray, " n"]:
        """The logit of "positive" for each of the n texts.

        Raises:
            UserError: if `texts` is one string instead of a sequence of strings.
        """
        refuse_bare_string(texts)
        values = self._counter.transform(texts).astype(np.float64)
        values.data = (1.0 + np.log(values.data)) * self.idf[
            values.indices
        ]  # v_j = (1 + ln c_j) idf_j
        norms = np.sqrt(np.asarray(values.multiply(values).sum(axis=1)).ravel())  # ‖v‖₂
        dots = values @ self.weights.astype(np.float64)
        # A text without known terms has v = 0; dividing by 1 leaves it the intercept.
        return np.asarray(self.intercept + dots / np.where(norms > 0, norms, 1.0), dtype=np.float64)

    def save(self, folder: str | Path) -> None:
        """Write ``reward.json`` and ``reward.npy`` (float32, rows idf and weights), making the
        folder if need be."""
        import sklearn

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        settings = {
            "kind": KIND,
            "format": 1,
            "ngram_range": list(self.ngram_range),
            "token_pattern": TOKEN_PATTERN,
            "sublinear_tf": True,
            "intercept": self.intercept,
            "versions": {"numpy": np.__version__, "scikit-learn": sklearn.__version__},
            "vocabulary": list(self.vocabulary),
        }
        np.save(
            folder / ARRAYS_FILE,
            np.stack([self.idf, self.weights]).astype(np.float32),
            allow_pickle=False,
        )
        text = json.dumps(settings, ensure_ascii=False, indent=0) + "\n"
        (folder / SETTINGS_FILE).write_text(text, encoding="utf-8")

    @classmethod
    def load(cls, folder: str | Path) -> LinearTextReward:
        """Read what `save` wrote; nothing in the folder is executed.

        Raises:
            UserError: if a file is missing, cannot be read, or holds something else.
        """
        folder = Path(folder)
        rule = f"{folder} must hold the {SETTINGS_FILE} and {ARRAYS_FILE} of one linear text reward"
        name = SETTINGS_FILE
        try:
            settings = json.loads((folder / name).read_text(encoding="utf-8"))
            name = ARRAYS_FILE
            arrays = np.load(folder / name, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise UserError(rule, f"{name}: {plainly(error)}", REMEDY) from error
        expected = {"kind": KIND, "format": 1, "token_pattern": TOKEN_PATTERN, "sublinear_tf": True}
        found = (
            {key: settings.get(key) for key in expected} if isinstance(settings, dict) else settings
        )
        if found != expected:
            raise UserError(
                rule,
                f"{SETTINGS_FILE} says {json.dumps(found)[:300]} instead of {json.dumps(expected)}",
                REMEDY,
            )
        try:
            vocabulary = tuple(_strings(settings["vocabulary"]))
            low, high = (int(length) for length in settings["ngram_range"])
            intercept = float(settings["intercept"])
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(
                rule,
                f"{SETTINGS_FILE} lacks a list of texts vocabulary, two whole numbers ngram_range "
                "or a "
                "number intercept",
                REMEDY,
            ) from error
        shape, kind = (
            getattr(arrays, "shape", None),
            getattr(arrays, "dtype", None),
        )  # an .npz has neither
        if kind != np.float32 or shape != (2, len(vocabulary)):
            expected_array = f"float32 of shape (2, {len(vocabulary)})"
            raise UserError(
                rule,
                f"{ARRAYS_FILE} holds "
                f"{kind or 'several arrays'}{f' of shape {shape}' if shape is not None else ''} "
                f"instead of {expected_array}",
                REMEDY,
            )
        return cls(vocabulary, arrays[0], arrays[1], intercept, (low, high))

    @cached_property
    def _counter(self) -> CountVectorizer:
        """The n-gram counter; its columns are the vocabulary in order."""
        from sklearn.feature_extraction.text import CountVectorizer

        return CountVectorizer(
            vocabulary=list(self.vocabulary),
            ngram_range=self.ngram_range,
            token_pattern=TOKEN_PATTERN,
        )


def refuse_bare_string(texts: Sequence[str]) -> None:
    """A string is a sequence of strings too, one a character; nobody means that."""
    if isinstance(texts, str):
        raise UserError("a reward scores a sequence of texts", "got one string", "Pass [text]")


def _strings(value: object) -> list[str]:
    """`value`, if it is a list of strings; TypeError otherwise."""
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise TypeError("vocabulary is not a list of strings")
    return value
