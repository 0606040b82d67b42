"""Labels as preferences over texts, for training and export."""

from whichpairs.errors import UserError
from whichpairs.types import Label, Preference
from whichpairs.workflow.workspace import Workspace


def preferences(space: Workspace, *, soft: bool = False) -> tuple[list[Preference], int]:
    """One preference an answer on prompts that are not held out, and how many ties were left out.

    A tie prefers nothing: it is counted, never read as a win. Where labels are `soft`, it is a
    preference of probability ½, as in the fit, and none is left out.

    Raises:
        UserError: soft labels are wanted, and no label says how probable it is.
    """
    pool, found, ties = space.pool, [], 0
    if soft and space.labels and not any(_is_soft(label) for label in space.labels):
        raise UserError(
            "--soft-labels needs labels that state a probability, or ties",
            f"none of the {len(space.labels)} does",
            "train without it",
        )
    for label in space.labels:
        a, b = pool.row_of[label.id_a], pool.row_of[label.id_b]
        if pool.holdout[pool.prompt_of[a]]:
            continue
        if label.choice == "tie" and not soft:
            ties += 1
            continue
        won, lost = (b, a) if label.choice == "b" else (a, b)
        p = label.probability
        if label.choice == "tie":
            p = 0.5 if p is None else p
        p_won = None if p is None else (1.0 - p if label.choice == "b" else p)
        chosen, rejected = pool.examples([won, lost])
        found.append(Preference(label.pair_id, chosen, rejected, p_won))
    return found, ties


def _is_soft(label: Label) -> bool:
    return label.probability is not None or label.choice == "tie"
