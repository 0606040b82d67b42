"""Proxy rewards: something that scores texts when no person is there to compare them.

A benchmark of designs needs a reward r(x, y) that it can ask as often as it likes: it simulates the
labels (Bradley-Terry on reward differences) and measures what the trained policy gained. The
recipes ship a `LinearTextReward`, which needs scikit-learn alone, so that continuous integration
can run without a model; a folder holding a sequence-classification model works in its place.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from jaxtyping import Float64

from whichpairs.errors import UserError
from whichpairs.evaluate.classifier_reward import ClassifierTextReward
from whichpairs.evaluate.linear_reward import REMEDY, SETTINGS_FILE, LinearTextReward


class TextReward(Protocol):
    """A reward over texts: the r in the Bradley-Terry model P(y preferred to y') = σ(r(y) −
    r(y'))."""

    @property
    def name(self) -> str:
        """What a report calls this reward."""
        ...

    def __call__(self, texts: Sequence[str]) -> Float64[np.ndarray, " n"]:
        """The reward of each of the n texts, in logits, higher is better."""
        ...


def load_reward(path: str | Path) -> TextReward:
    """Read a reward from a folder, whichever kind it holds.

    Args:
        path: a folder with ``reward.json`` (a `LinearTextReward`) or with ``config.json`` (a
            transformers sequence-classification model, which needs the extra ``torch``).

    Raises:
        UserError: if the folder holds neither, or what it holds is damaged.
        MissingExtraError: if it holds a model and torch or transformers is not installed.
    """
    folder = Path(path)
    if (folder / SETTINGS_FILE).is_file():
        return LinearTextReward.load(folder)
    if (folder / "config.json").is_file():
        return ClassifierTextReward.load(folder)
    raise UserError(
        f"a reward is a folder with {SETTINGS_FILE} or with the config.json of a "
        "sequence-classification model",
        f"{folder} {'has neither' if folder.is_dir() else 'is not a folder'}",
        REMEDY,
    )


__all__ = ["ClassifierTextReward", "LinearTextReward", "TextReward", "load_reward"]
