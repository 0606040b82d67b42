"""Labels as preferences over texts, for training and export.

One row an answer is what DPO's loss wants of answers that disagree: it learns their share. Whoever
wants one row a pair gets the majority's.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

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


@dataclass(frozen=True)
class Votes:
    """What a pair's answers say together.

    Attributes:
        chosen, rejected: answers for the one and for the other of a preference; ties.
        share: mean probability of `chosen`, as the fit counts it: what an annotator stated, else 1,
            0, or ½ for a tie.
    """

    chosen: int
    rejected: int
    ties: int
    share: float

    @property
    def answers(self) -> int:
        """How many answers the pair has."""
        return self.chosen + self.rejected + self.ties

    @property
    def mirrored(self) -> "Votes":
        """The same seen from the other side."""
        return Votes(self.rejected, self.chosen, self.ties, 1.0 - self.share)


def votes_for(space: Workspace, preferences: Sequence[Preference]) -> list[Votes]:
    """The votes on the pair of each preference, from the side of its chosen completion."""
    text, found = space.pool.completions["completion"], dict[str, list[tuple[str, str, float]]]()
    for label, p in zip(space.labels, space.worth(), strict=True):
        first = text[space.pool.row_of[label.id_a]]
        found.setdefault(label.pair_id, []).append((label.choice, first, p))
    votes = []
    for one in preferences:
        ours = [
            (choice, first == one.chosen.completion, p) for choice, first, p in found[one.pair_id]
        ]
        won = [choice == ("a" if same else "b") for choice, same, _ in ours]
        ties = sum(choice == "tie" for choice, _, _ in ours)
        share = sum(p if same else 1.0 - p for _, same, p in ours) / len(ours)
        votes.append(Votes(sum(won), len(ours) - sum(won) - ties, ties, share))
    return votes


def joined(
    preferences: Sequence[Preference], votes: Sequence[Votes]
) -> tuple[list[Preference], list[Votes], int]:
    """One preference a pair, for what more answers say, and how many pairs are evenly split.

    Its probability is the answers' share, where there are several.
    """
    rows, kept, even, seen = list[Preference](), list[Votes](), 0, set[str]()
    for one, vote in zip(preferences, votes, strict=True):
        if one.pair_id in seen:
            continue
        seen.add(one.pair_id)
        if vote.answers == 1:
            rows.append(one)
            kept.append(vote)
        elif abs(vote.share - 0.5) < 1e-9:
            even += 1
        else:
            sides = (one.chosen, one.rejected)
            if vote.share < 0.5:
                sides, vote = sides[::-1], vote.mirrored
            rows.append(replace(one, chosen=sides[0], rejected=sides[1], probability=vote.share))
            kept.append(vote)
    return rows, kept, even


def _is_soft(label: Label) -> bool:
    return label.probability is not None or label.choice == "tie"
