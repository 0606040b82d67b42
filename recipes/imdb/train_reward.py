"""Fit the proxy reward of the IMDb recipe: TF-IDF of words, then a sparse logistic regression.

    .venv/bin/python recipes/imdb/train_reward.py --data imdb.parquet --out recipes/imdb/reward

The weights are sparse (lasso), about two thousand words, so that a million-parameter policy can learn from some hundred
labels what the reward likes; with a ridge the score of a short text is spread over thousands of tiny weights
(docs/log.md has the figures). The strength is the one of a short list with the least log loss on a fifth of the train
split: the reward's logits are what simulated labellers flip their coins with, so their calibration matters.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import sklearn
from numpy.typing import NDArray
from sklearn.metrics import log_loss, roc_auc_score

from whichpairs.evaluate.reward import LinearTextReward

DATA = Path(__file__).parents[3] / "shared" / "data" / "imdb.parquet"
GRID = (0.25, 0.5, 1.0, 2.0)


def read_split(path: Path, split: str) -> tuple[list[str], NDArray[np.int64]]:
    """The reviews of a split, without HTML line breaks, and their labels (1 positive, 0 negative)."""
    clean = (
        pl.col("text")
        .str.replace_all(r"<br\s*/?>", " ")
        .str.replace_all(r"\s+", " ")
        .str.strip_chars()
    )
    frame = pl.read_parquet(path).filter(pl.col("split") == split).sort("id").select(clean, "label")
    return frame["text"].to_list(), frame["label"].to_numpy().astype(np.int64)


def judge(reward: LinearTextReward, texts: list[str], labels: NDArray[np.int64]) -> str:
    """Accuracy, area under the curve and log loss on some texts, and the spread of the logits, in one line."""
    logits = reward(texts)
    accuracy = np.mean((logits > 0) == labels)
    loss = log_loss(labels, 1 / (1 + np.exp(-logits)))
    return (
        f"accuracy {accuracy:.4f}, area under the curve {roc_auc_score(labels, logits):.4f},"
        f" log loss {loss:.4f}, standard deviation of the logits {logits.std():.2f}"
    )


def choose(
    texts: list[str], labels: NDArray[np.int64], max_features: int, rng: np.random.Generator
) -> float:
    """The C of GRID with the least log loss on a random fifth of the texts, after fitting to the rest."""
    order = rng.permutation(len(texts))
    held, kept = order[: len(texts) // 5], order[len(texts) // 5 :]
    losses = {}
    for strength in GRID:
        reward = LinearTextReward.fit(
            [texts[i] for i in kept],
            labels[kept].tolist(),
            max_features,
            regularisation=strength,
            ngram_range=(1, 1),
            sparse=True,
        )
        logits = reward([texts[i] for i in held])
        losses[strength] = log_loss(labels[held], 1 / (1 + np.exp(-logits)))
        accuracy = np.mean((logits > 0) == labels[held])
        print(
            f"C {strength:4g}: held-out log loss {losses[strength]:.4f}, accuracy {accuracy:.4f}",
            flush=True,
        )
    return min(losses, key=losses.__getitem__)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "reward")
    parser.add_argument("--max-features", type=int, default=15_000)
    parser.add_argument("--seed", type=int, default=0)
    settings = parser.parse_args()
    print(
        f"python {platform.python_version()}, scikit-learn {sklearn.__version__}, numpy {np.__version__},"
        f" {platform.machine()}, {os.cpu_count()} cores"
    )
    print("command:", " ".join(sys.argv))

    begin = time.perf_counter()
    texts, labels = read_split(settings.data, "train")
    strength = choose(texts, labels, settings.max_features, np.random.default_rng(settings.seed))
    reward = LinearTextReward.fit(
        texts,
        labels.tolist(),
        settings.max_features,
        regularisation=strength,
        ngram_range=(1, 1),
        sparse=True,
    )
    reward.save(settings.out)
    print(
        f"C {strength:g} on all {len(texts)} reviews of the train split: {judge(reward, texts, labels)}"
    )

    test_texts, test_labels = read_split(settings.data, "test")
    print(f"{len(test_texts)} reviews of the test split: {judge(reward, test_texts, test_labels)}")
    order = np.argsort(reward.weights)
    print("most negative terms:", ", ".join(reward.vocabulary[i] for i in order[:12]))
    print("most positive terms:", ", ".join(reward.vocabulary[i] for i in order[:-13:-1]))
    for file in sorted(settings.out.iterdir()):
        print(f"{file.name}: {file.stat().st_size / 1024:.0f} KiB")
    print(f"{time.perf_counter() - begin:.0f} s in all")


if __name__ == "__main__":
    main()
