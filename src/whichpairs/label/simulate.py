"""Labels drawn from a score: P(i ≻ j) = σ((s_i − s_j) / T), for experiments with a known truth."""

from collections.abc import Sequence

import numpy as np
from scipy.special import expit

from whichpairs.errors import UserError
from whichpairs.label.settings import check_temperature
from whichpairs.streams import stream_of
from whichpairs.types import Choice, Label


def simulate(
    pairs: Sequence[tuple[str, str, str]],
    scores: np.ndarray,
    temperature: float,
    *,
    annotator: str,
    batch: str,
    seed: int,
    turn: int = 1,
) -> list[Label]:
    """Bradley–Terry answers to `pairs`.

    The answer to a pair depends on the seed, the pair's id and the turn alone, not on the order
    shown nor on the batch: two designs that ask the same pair get the same answer.

    Args:
        turn: 1 for the first answer to a pair, 2 for the second …; answers are independent.
        pairs: ``(pair_id, id_a, id_b)`` in the order shown.
        scores: s of A and B, shape (pairs, 2).
        temperature: T > 0, in units of the score.

    Raises:
        UserError: T is not above 0, or a score is not finite.
    """
    check_temperature(temperature)
    if not np.isfinite(scores).all():
        row = int(np.argwhere(~np.isfinite(scores))[0][0])
        raise UserError("scores must be finite", f"a completion of pair {pairs[row][0]} has none")
    labels, again = [], [turn] if turn > 1 else []
    for (pair_id, id_a, id_b), (s_a, s_b) in zip(pairs, scores, strict=True):
        draw = float(stream_of(seed, pair_id, *again).random())
        p_a = float(expit((s_a - s_b) / temperature))
        a_wins = draw < p_a if id_a < id_b else draw >= 1.0 - p_a
        choice: Choice = "a" if a_wins else "b"
        labels.append(Label(pair_id, id_a, id_b, choice, annotator, batch, p_a))
    return labels
