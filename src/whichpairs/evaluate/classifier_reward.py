"""The proxy reward that is a sequence-classification model of transformers."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from whichpairs.errors import UserError, plainly
from whichpairs.evaluate.linear_reward import refuse_bare_string
from whichpairs.lm.optional import quiet, require
from whichpairs.wording import listed


@dataclass(frozen=True, eq=False)
class ClassifierTextReward:
    """The log-odds of "positive" under a transformers sequence-classification model, or its one
    regression output.

    Attributes:
        name: what a report calls this reward.
        model: a ``PreTrainedModel`` with a classification head, in evaluation mode.
        tokenizer: its tokenizer, with a padding token.
        positive: the index of the positive class; ignored where there is one output.
        max_tokens: longer texts are cut here.
        batch_size: texts in one forward pass.
    """

    name: str
    model: Any
    tokenizer: Any
    positive: int
    max_tokens: int
    batch_size: int = 64

    def __call__(self, texts: Sequence[str]) -> Float64[np.ndarray, " n"]:
        """The reward of each of the n texts, in logits (a regression output in the unit it was
        trained on).

        Raises:
            UserError: if `texts` is one string instead of a sequence of strings.
        """
        import torch

        refuse_bare_string(texts)
        # Texts of like length share a batch, so that little is padded; the order is undone at the
        # end.
        order = np.argsort([len(text) for text in texts], kind="stable")
        rewards = np.empty(len(texts))
        for start in range(0, len(texts), self.batch_size):
            chosen = order[start : start + self.batch_size]
            encoded = self.tokenizer(
                [texts[i] for i in chosen],
                padding=True,
                truncation=True,
                max_length=self.max_tokens,
                return_tensors="pt",
            ).to(self.model.device)
            with torch.inference_mode():
                logits = self.model(**encoded).logits
            rewards[chosen] = self._reward(logits.double().cpu().numpy())
        return rewards

    def _reward(self, logits: Float64[np.ndarray, "n classes"]) -> Float64[np.ndarray, " n"]:
        """Log-odds of the positive class, z_k − ln Σ_{j≠k} exp z_j: of two classes, the difference
        of the logits."""
        if logits.shape[1] == 1:
            return logits[:, 0]
        if self.model.config.problem_type == "multi_label_classification":
            return logits[:, self.positive]  # each output is a logit of its own
        others = np.delete(logits, self.positive, axis=1)
        return np.asarray(logits[:, self.positive] - np.logaddexp.reduce(others, axis=1))

    @classmethod
    def load(cls, folder: str | Path) -> ClassifierTextReward:
        """Read a model and its tokenizer from a local folder; code in the folder is not run.

        Raises:
            MissingExtraError: if torch or transformers is not installed.
            UserError: if the folder holds a model without a trained classification head, or one of
                several classes none of which is called "positive".
        """
        folder = Path(folder)
        config = _read_config(folder)
        require("torch")
        require("transformers")
        import torch
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        try:
            with quiet():
                tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
                model: Any = AutoModelForSequenceClassification.from_pretrained(
                    folder, local_files_only=True, dtype=torch.float32
                )
        except (OSError, ValueError) as error:
            raise UserError(
                f"{folder} must hold a model and its tokenizer as save_pretrained writes them",
                plainly(error),
                "Save both into this folder",
            ) from error
        model.eval()
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
        if (
            model.config.pad_token_id is None
        ):  # decoder-only classifiers find each text's last token by it
            model.config.pad_token_id = tokenizer.pad_token_id
        longest = min(
            tokenizer.model_max_length, config.get("max_position_embeddings") or math.inf, 4096
        )
        return cls(
            folder.resolve().name,
            model,
            tokenizer,
            _positive_class(model.config.id2label),
            int(longest),
        )


def _read_config(folder: Path) -> dict[str, Any]:
    """The config.json of a folder, refused where it names no classification head: a new head scores
    at random."""
    rule = f"{folder}/config.json must describe a sequence-classification model"
    remedy = "Pass the folder of a classifier, or of a reward model with one output"
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(rule, plainly(error), remedy) from error
    found = config.get("architectures") if isinstance(config, dict) else None
    names = [str(name) for name in found] if isinstance(found, list) else []
    if not any(name.endswith("ForSequenceClassification") for name in names):
        raise UserError(
            rule, f"the architecture that it names is {listed(names) or 'none'}", remedy
        )
    return dict(config)


def _positive_class(names: dict[int, str]) -> int:
    """The class called "positive" or "pos"; class 1 of two unnamed ones; 0 where there is one
    output."""
    if len(names) == 1:
        return 0
    for index, label in names.items():
        if label.lower() in ("positive", "pos"):
            return int(index)
    if len(names) == 2:
        return 1
    raise UserError(
        'a classifier of several classes must call one of them "positive"',
        f"the classes are {list(names.values())[:8]}",
        "Rename the class in the id2label of config.json",
    )
