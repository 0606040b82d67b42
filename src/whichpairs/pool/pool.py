"""The pool in memory: prompts, their completions in contiguous rows, and who is held out."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from whichpairs.errors import UserError, plainly
from whichpairs.streams import Stream, stream
from whichpairs.types import Example, Message

MESSAGE = "assistant_message"
"""The column of completions that are more than a text (there only where one is)."""
BOOKKEEPING = frozenset({"tokens", "logprob"})
"""Numeric columns that `generate` writes beside what it draws: no scores, unless chosen as such."""


@dataclass(frozen=True)
class Pool:
    """Prompts and completions, row by row.

    Attributes:
        prompts: ``prompt_id, prompt, messages, group, holdout``.
        completions: ``completion_id, prompt_id, completion, weight, finished``, where a completion
            has tool calls ``assistant_message`` (canonical JSON or null), and further columns, a
            prompt's completions contiguous and in the order of `prompts`.
        pairs: answers that came with the pool: ``prompt_id, chosen_id, rejected_id, tie``.
        fingerprint: 16 hex digits over ids, texts, weights and the held-out prompts.
        bookkeeping: numeric columns of `completions` that are no scores.
    """

    prompts: pl.DataFrame
    completions: pl.DataFrame
    pairs: pl.DataFrame
    fingerprint: str
    bookkeeping: frozenset[str] = BOOKKEEPING

    @cached_property
    def starts(self) -> np.ndarray:
        """Prompt p owns rows ``starts[p]:starts[p + 1]`` (int64)."""
        runs = self.completions["prompt_id"].rle().struct.unnest()
        if runs["value"].to_list() != self.prompts["prompt_id"].to_list():
            raise UserError("a prompt's completions must be contiguous", "the pool files disagree")
        return np.concatenate([[0], np.cumsum(runs["len"].to_numpy())]).astype(np.int64)

    @cached_property
    def holdout(self) -> np.ndarray:
        """Which prompts are held out (bool)."""
        return self.prompts["holdout"].to_numpy()

    @cached_property
    def prompt_of(self) -> np.ndarray:
        """The prompt number of every row."""
        return np.repeat(np.arange(len(self.prompts)), np.diff(self.starts))

    @cached_property
    def weight(self) -> np.ndarray:
        """π_ref's weight of every row (float64, any scale a prompt)."""
        return self.completions["weight"].to_numpy().astype(np.float64)

    @cached_property
    def ids(self) -> list[str]:
        """Completion ids by row."""
        return self.completions["completion_id"].to_list()

    @cached_property
    def row_of(self) -> dict[str, int]:
        """The row of every completion id."""
        return {name: row for row, name in enumerate(self.ids)}

    def rows(self, ids: Iterable[str]) -> np.ndarray:
        """Rows of completion ids (int64)."""
        return np.fromiter((self.row_of[name] for name in ids), dtype=np.int64)

    def messages(self, prompt: int) -> str | tuple[Message, ...]:
        """A prompt's chat messages, or its text where it is plain."""
        raw = self.prompts["messages"][prompt]
        return self.prompts["prompt"][prompt] if raw is None else tuple(json.loads(raw))

    def examples(self, rows: Iterable[int]) -> list[Example]:
        """Completions as a language model sees them."""
        text, finished = self.completions["completion"], self.completions["finished"]
        whole = self.completions[MESSAGE] if MESSAGE in self.completions.columns else None
        return [
            Example(
                self.messages(int(self.prompt_of[r])),
                text[int(r)],
                bool(finished[int(r)]),
                json.loads(whole[int(r)]) if whole is not None and whole[int(r)] else None,
            )
            for r in rows
        ]

    @property
    def numeric(self) -> list[str]:
        """The names of the completions' numeric columns."""
        kinds = self.completions.schema.items()
        return [name for name, kind in kinds if kind.is_numeric() and name not in {"weight"}]

    @property
    def scores(self) -> list[str]:
        """The numeric columns that are scores: all but what a generation wrote down for itself."""
        return [name for name in self.numeric if name not in self.bookkeeping]

    def numbers(self, column: str, beside: Sequence[str] = ()) -> np.ndarray:
        """A numeric column of the completions (float64).

        Args:
            beside: names that the caller would have taken too, for the message.

        Raises:
            UserError: there is none of that name, or it is not numeric.
        """
        if column not in self.numeric:
            raise UserError(
                "the score column must be a numeric column of the pool",
                f"got {column!r}; there is {', '.join([*beside, *self.scores]) or 'none'}",
                "import with --score-column, or score the pool with: whichpairs score",
            )
        return self.completions[column].to_numpy().astype(np.float64)


def fingerprint(prompts: pl.DataFrame, completions: pl.DataFrame) -> str:
    """16 hex digits that change when anything a stage depends on changes."""
    digest = hashlib.sha256()
    for frame, names in (
        (prompts, ("prompt_id", "prompt", "messages", "holdout")),
        (completions, ("completion_id", "completion", "weight", "finished", MESSAGE)),
    ):
        for name in names:
            if name == MESSAGE and name not in frame.columns:
                continue
            digest.update(json.dumps(frame[name].to_list()).encode())
    return digest.hexdigest()[:16]


def hold_out(prompts: pl.DataFrame, share: float, seed: int) -> pl.DataFrame:
    """`prompts` with a column ``holdout``: a random `share` of them, by whole groups.

    Prompts without a group are groups of their own.

    Raises:
        UserError: the share is not in [0, 1), or leaves no prompt to pick from.
    """
    if not 0.0 <= share < 1.0:
        raise UserError("holdout must be at least 0 and below 1", f"got {share}")
    groups = prompts["group"].fill_null(pl.Series(prompts["prompt_id"])).to_list()
    unique = sorted(set(groups))
    order = stream(seed, Stream.HOLDOUT).permutation(len(unique))
    chosen = {unique[k] for k in order[: round(share * len(unique))]}
    if len(chosen) == len(unique):
        raise UserError("holdout must leave prompts to pick from", f"got {share} of {len(unique)}")
    return prompts.with_columns(
        pl.Series("holdout", [g in chosen for g in groups], dtype=pl.Boolean)
    )


def save_pool(
    folder: Path, prompts: pl.DataFrame, completions: pl.DataFrame, pairs: pl.DataFrame
) -> str:
    """Write the tables into `folder`; returns their fingerprint."""
    prompts.write_parquet(folder / "prompts.parquet")
    completions.write_parquet(folder / "completions.parquet")
    pairs.write_parquet(folder / "pairs.parquet")
    return fingerprint(prompts, completions)


def no_scores(settings: dict[str, Any]) -> frozenset[str]:
    """The names of numeric columns that are no scores, by the settings of the import or
    generation."""
    return BOOKKEEPING - set(settings.get("columns", {}).get("scores", ()))


def load_pool(folder: Path, expected: str, bookkeeping: frozenset[str] = BOOKKEEPING) -> Pool:
    """The pool in `folder`.

    Args:
        expected: its fingerprint.
        bookkeeping: numeric columns that are no scores.

    Raises:
        UserError: a file is missing or broken.
    """
    prompts, completions, pairs = (
        _table(folder / name)
        for name in ("prompts.parquet", "completions.parquet", "pairs.parquet")
    )
    return Pool(prompts, completions, pairs, expected, bookkeeping)


def _table(path: Path) -> pl.DataFrame:
    try:
        return pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise UserError(
            "the pool's files must be whole",
            f"{path}: {plainly(error)}",
            "import the pool into a new run",
        ) from None


def pair_id(left: str, right: str) -> str:
    """The id of a pair of completions, the same in both orders."""
    first, second = sorted((left, right))
    return "q" + hashlib.sha256(f"{first}\0{second}".encode()).hexdigest()[:16]
