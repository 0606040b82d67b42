"""Labels as preferences over texts, for training and export."""

from whichpairs.types import Preference
from whichpairs.workflow.workspace import Workspace


def preferences(space: Workspace) -> tuple[list[Preference], int]:
    """One preference an answer on prompts that are not held out, and how many ties were left out.

    A tie prefers nothing: it is counted, never read as a win.
    """
    pool, found, ties = space.pool, [], 0
    for label in space.labels:
        a, b = pool.row_of[label.id_a], pool.row_of[label.id_b]
        if pool.holdout[pool.prompt_of[a]]:
            continue
        if label.choice == "tie":
            ties += 1
            continue
        won, lost = (a, b) if label.choice == "a" else (b, a)
        p = label.probability
        p_won = None if p is None else (p if label.choice == "a" else 1.0 - p)
        chosen, rejected = pool.examples([won, lost])
        found.append(Preference(label.pair_id, chosen, rejected, p_won))
    return found, ties
