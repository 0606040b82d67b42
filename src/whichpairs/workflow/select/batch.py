"""A batch as people see it: the file that whoever labels gets, and what is said of the choice."""

import hashlib
from typing import Any

import numpy as np

from whichpairs.design.problem.space import Rows
from whichpairs.pool.pool import Pool, pair_id
from whichpairs.wording import counted, counted_of, percent
from whichpairs.workflow.select.batch_result import labels_of


def batch_rows(pool: Pool, pairs: Rows, *, seed: int) -> list[dict[str, Any]]:
    """Pairs as batch rows, in an order drawn from seed and pair alone; which completion stands as A
    is another coin of the two. One that is to be labelled k > 1 times stands there once, with
    ``labels`` k. Nothing in a row, nor its place, tells controls from the others: whoever labels is
    to treat all alike, and half a batch is a fair half.

    Args:
        pairs: as often as they are to be labelled, (n, 2).
    """
    texts = pool.completions["completion"]
    unique, labels = np.unique(np.sort(pairs, axis=1), axis=0, return_counts=True)
    rows = []
    for (i, j), times in zip(unique.tolist(), labels.tolist(), strict=True):
        key = pair_id(pool.ids[i], pool.ids[j])
        coin = hashlib.sha256(f"{seed}:{key}".encode()).digest()[0] & 1
        a, b = (j, i) if coin else (i, j)
        prompt = int(pool.prompt_of[i])
        rows.append(
            {
                "pair_id": key,
                "prompt_id": pool.prompts["prompt_id"][prompt],
                "prompt": pool.messages(prompt),
                "completion_a": texts[a],
                "completion_b": texts[b],
                "id_a": pool.ids[a],
                "id_b": pool.ids[b],
                "weight": 1.0,
                **({"labels": times} if times > 1 else {}),
            }
        )
    return sorted(
        rows, key=lambda row: hashlib.sha256(f"order:{seed}:{row['pair_id']}".encode()).digest()
    )


_WHY_RANDOM = {
    "adaptive": "so are the first 4 labels a feature, which say how large the rewards are",
    "signal": "no fit of the labels so far foretells the others better than a coin by 4 nats",
}


BEST = {
    "d-optimal": "best possible D-efficiency",
    "a-optimal": "best possible batch by A-optimality",
    "c-optimal": "best possible batch by c-optimality",
    "i-optimal": "best possible batch by I-optimality",
}
"""What the certificate of a criterion other than the gap compares with."""


SAME = 1e-6
"""A certificate below this share is rounding: the batch is the best one."""


def _how(r: dict[str, Any]) -> str:
    """``, 128 of them at random …`` for those that learn from labels."""
    worse = r.get("worse_than_random")
    if worse:
        return (
            f"; the batch found was worse by its own criterion ({worse['found']:.4g}) than the "
            "mean "
            f"of {worse['draws']} random ones ({worse['random']:.4g}), so the best of those was "
            "taken"
        )
    named = r.get("named", 0)
    if _all_named(r):
        return ", all of which you named (--must)"
    text = f", {named} of them named by you (--must)" if named else ""
    return text + _drawn(r)


def _all_named(r: dict[str, Any]) -> bool:
    return 0 < r["picked"] == r.get("named", 0)


def _drawn(r: dict[str, Any]) -> str:
    """What chance and the model picked."""
    if "paper" in r:
        return _by_weight(r["paper"])
    if r["random_picked"] is None:
        return ""
    if r["random_picked"] == labels_of(r):
        return f", all at random ({_WHY_RANDOM[r['criterion']]})"
    if r["criterion"] == "signal":
        return f", {r['random_picked']} of them at random, the others of the strongest signal"
    return (
        f", {r['random_picked']} of them at random, the others the best of {r['looked_at']} "
        f"candidates drawn ({r['too_far']} of which are too far apart to trust the model with)"
    )


def _by_weight(paper: dict[str, Any]) -> str:
    """What the paper's design is, and how much of the batch is drawn by it."""
    text = f", {paper['by_weight']} drawn by the weights of a design on {paper['support']} pairs"
    if paper["certificate"] is not None:
        text += f" (its trace at most {percent(paper['certificate'])} above the least)"
    if paper["filled"]:
        text += f", {paper['filled']} at random, for no other pair has any weight"
    if paper["logprobs"] == 0:
        return text + "; the pool says no logprob, so completions count by their weight (θ₀ = 0)"
    if paper["without_logprob"]:
        text += f"; {paper['without_logprob']} completions without logprob were left out of θ₀"
    return text


def _controls(r: dict[str, Any]) -> str:
    """What is to be labelled beside the budget."""
    if not r["controls"]:
        return ""
    text = f" (and {counted(r['controls'], 'control pair')}"
    if r.get("controls_by_default"):
        text += " of held-out prompts beside them, never fitted; --controls 0 for none"
    return text + ")"


def batch_message(r: dict[str, Any]) -> str:
    """How the pairs were picked, what they should reach, and what random would need for it."""
    text = (
        f"{counted_of(r['picked'], r['candidate_pairs'], 'candidate pair')} picked by "
        f"{r['criterion']}"
    )
    text += _controls(r) + _how(r) + _spent(r)
    gap, before = r["predicted_gap"], r["predicted_gap_before"]
    text += f"; predicted gap {gap:.4g} ({before:.4g} without it"
    text += ": the forecast sees nothing gained by so few labels)" if gap >= before else ")"
    needs = r["labels_random_would_need"]
    learns = r["criterion"] != "random" and r["random_picked"] != labels_of(r)
    if learns:
        text += f", random's {r['random_predicted_gap']:.4g}"
        if needs is not None and needs < labels_of(r):
            text += (
                f"; random would need {counted(needs, 'label')} only: it is the better choice here"
            )
        elif needs == labels_of(r):
            text += "; random of as many labels is as good, as far as the forecast can tell"
        elif needs:
            text += f"; random would need {counted(needs, 'label')}"
        elif not r.get("limits"):
            text += "; random does not get there with as many labels as were looked at"
    if r["certificate"] is not None and not _all_named(r):
        of = BEST.get(r["criterion"], "best possible batch")
        far = f"at most {percent(r['certificate'])} from the" if r["certificate"] > SAME else "the"
        text += f"; {far} {of}"
    beyond = r.get("beyond_approximation", 0.0)
    if beyond > 0.0:
        text += (
            f"; the margins of {percent(beyond)} of these labels are so large that "
            "what they teach by the criterion may be off by more than 9 %"
        )
    if r.get("not_in_drawer"):
        text += (
            f"; the drawer has no answer to {counted(r['not_in_drawer'], 'label')} of these: "
            "bring it by label --from"
        )
    if r.get("interrupted"):
        text += f"; stopped by you after pass {r['passes']}"
    return f"{text}.\n{r['batch_file']}"


def _spent(r: dict[str, Any]) -> str:
    """Labels, cost and shares, where limits make them worth a word."""
    text = f"; {counted(labels_of(r), 'label')}" if labels_of(r) != r["picked"] else ""
    if r.get("unit", "labels") != "labels":
        text += f"; a cost of {r['cost']:.6g} of {r['budget']:g} ({r['unit']})"
        if r["cost"] < 0.9 * r["budget"]:
            text += ", for the pool and the other limits leave no room for more"
    shares = ", ".join(f"{name} {percent(share, 3)}" for name, share in r.get("shares", {}).items())
    return text + (f"; shares: {shares}" if shares else "")


def finite(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """−∞ (no bound yet) is null in JSON."""
    return [
        {k: None if isinstance(v, float) and not np.isfinite(v) else v for k, v in row.items()}
        for row in history
    ]
