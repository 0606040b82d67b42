"""Fit the recipe's judge: what the annotators of HH-RLHF preferred, as a sparse Bradley–Terry model of words.

    .venv/bin/python recipes/dialogue/train_judge.py --out recipes/dialogue/judge

P(chosen preferred) = σ(wᵀ[v(chosen) − v(rejected)]), v the normalised TF-IDF of words and pairs of words, and w under
a lasso whose strength has the least log loss on a fifth of the training pairs. It is saved as a `LinearTextReward`,
which the judge's server loads. Pairs whose prompt is in prompts.jsonl are not trained on; they are the test.
"""

import argparse
import platform
import sys
from pathlib import Path

import numpy as np
import sklearn
from prepare import DATA, HERE, Dialogue, read_dialogues, set_aside
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from whichpairs.evaluate.reward import LinearTextReward

GRID, RANGE, LEAST_DOCUMENTS = (0.25, 0.5, 1.0, 2.0, 4.0), (1, 2), 4


def fit(dialogues: list[Dialogue], strength: float) -> LinearTextReward:
    """The lasso on differences of TF-IDF vectors, every other pair mirrored so that no class is missing."""
    vectorizer = TfidfVectorizer(ngram_range=RANGE, sublinear_tf=True, min_df=LEAST_DOCUMENTS)
    vectorizer.fit([text for d in dialogues for text in (d.chosen, d.rejected)])
    signs = np.where(np.arange(len(dialogues)) % 2, 1.0, -1.0)
    chosen = vectorizer.transform([d.chosen for d in dialogues])
    difference = chosen - vectorizer.transform([d.rejected for d in dialogues])
    model = LogisticRegression(
        C=strength, l1_ratio=1.0, solver="liblinear", fit_intercept=False, random_state=0
    ).fit(difference.multiply(signs[:, None]).tocsr(), signs > 0)
    return LinearTextReward(
        vocabulary=tuple(str(term) for term in vectorizer.get_feature_names_out()),
        idf=vectorizer.idf_.astype(np.float32),
        weights=model.coef_[0].astype(np.float32),
        intercept=0.0,
        ngram_range=RANGE,
    )


def margins(judge: LinearTextReward, dialogues: list[Dialogue]) -> np.ndarray:
    """Score of the chosen reply less that of the rejected one, logits."""
    chosen = judge([d.chosen for d in dialogues])
    return np.asarray(chosen - judge([d.rejected for d in dialogues]))


def quality(judge: LinearTextReward, dialogues: list[Dialogue]) -> tuple[float, float]:
    """Accuracy (an undecided pair counts half) and log loss in nats."""
    z = margins(judge, dialogues)
    return float(np.mean((z > 0) + 0.5 * (z == 0))), float(np.mean(np.logaddexp(0.0, -z)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--out", type=Path, default=HERE / "judge")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print(f"python {platform.python_version()}, scikit-learn {sklearn.__version__}")
    print("command:", " ".join(sys.argv))
    aside, everything = set_aside(), list(read_dialogues(options.data))
    test = [d for d in everything if d.key in aside]
    train = [d for d in everything if d.key not in aside]
    order = np.random.default_rng(options.seed).permutation(len(train))
    cut = len(train) // 5
    held, kept = ([train[i] for i in part] for part in (order[:cut], order[cut:]))
    losses = {}
    for strength in GRID:
        accuracy, losses[strength] = quality(fit(kept, strength), held)
        print(f"C {strength:4g}: log loss {losses[strength]:.4f}, accuracy {accuracy:.3f}")
    best = min(losses, key=losses.__getitem__)
    judge = fit(train, best)
    judge.save(options.out)
    accuracy, loss = quality(judge, test)
    spread, terms = margins(judge, test).std(), int(np.count_nonzero(judge.weights))
    print(f"C {best:g} on all {len(train)} pairs: {terms} of {len(judge.vocabulary)} terms count")
    print(
        f"{len(test)} pairs of the shipped prompts: accuracy {accuracy:.3f}, log loss {loss:.4f}, "
        f"standard deviation of the margins {spread:.2f}"
    )
    by_weight = np.argsort(judge.weights)
    print("least liked:", ", ".join(judge.vocabulary[i] for i in by_weight[:12]))
    print("most liked:", ", ".join(judge.vocabulary[i] for i in by_weight[:-13:-1]))


if __name__ == "__main__":
    main()
