"""The headline: what was picked, how good that is, what random would have needed, what it gained.

A gain is claimed only from an evaluation on held-out prompts, and only where its interval is above 0.
"""

import shlex
from typing import Any

from markupsafe import Markup

from whichpairs.report.data.facts import Facts
from whichpairs.report.page.format import data, how_many, say
from whichpairs.report.page.parts import Tile, Verdict
from whichpairs.wording import plural
from whichpairs.workflow.drawer import from_drawer
from whichpairs.workflow.select.batch import BEST
from whichpairs.workflow.select.batch_result import labels_of

HOW = {
    "adaptive": "the gap expected from the labels so far, warily of the model and in part at random",
    "signal": "what a label should teach a policy that DPO trains from the reference",
    "gap": "the paper’s gap criterion at the reference policy",
    "paper": "a draw in proportion to the paper’s relaxed design",
    "random": "chance, uniformly over candidate pairs",
    "uniform-prompts": "chance, a prompt first and then a pair",
    "reference": "chance, both ends drawn from the reference policy",
    "d-optimal": "D-optimality (the volume of θ’s uncertainty)",
    "a-optimal": "A-optimality (the variances of θ’s coordinates)",
    "c-optimal": "c-optimality (the variance of one contrast of the features)",
    "i-optimal": "I-optimality (the mean variance of what θ predicts)",
    "best-vs-worst": "score, best against worst",
}
NO_EVIDENCE = "no fitted or trained policy has been evaluated on held-out prompts"


def at_random(r: dict[str, Any]) -> bool:
    """Whether a batch is uniformly random, as the first adaptive ones are too."""
    return bool(r["criterion"] == "random" or r.get("random_picked") == labels_of(r))


def verdict(facts: Facts) -> Verdict:
    """The head of the page."""
    sentences = [("Picked", _picked(facts))]
    if facts.batches:
        sentences += [
            ("Against random", _random(facts)),
            ("Solver’s certificate", _certificates(facts)),
        ]
    if facts.policies:
        sentences.append(("Policy", _trained(facts)))
    sentences.append(("Gain", gain(facts)))
    return Verdict(_headline(facts), _tiles(facts), sentences, _warnings(facts))


def _headline(facts: Facts) -> Markup:
    """The verdict in one line: what was picked, and what that is predicted to be worth."""
    if facts.pool is None:
        return Markup("There is no pool yet")
    if not facts.batches:
        return Markup("Nothing is picked yet")
    r = facts.batches[-1][1].result
    values = {"n": data(facts.picked, "count"), "pairs": plural(facts.picked, "pair")}
    needs = r["labels_random_would_need"]
    if at_random(r) or needs is None or needs <= labels_of(r):
        return say("{n} {pairs} picked", **values)
    values |= {
        "of": r["picked"],
        "needs": data(needs, "count"),
        "these": data(labels_of(r), "count"),
    }
    if len(facts.batches) == 1:
        return say("{n} {pairs} picked, predicted to do the work of {needs} random ones", **values)
    return say(
        "{n} {pairs} picked; the latest {these} are predicted to do the work of {needs} random ones",
        **values,
    )


def _tiles(facts: Facts) -> list[Tile]:
    if not facts.batches:
        return []
    name, record = facts.batches[-1]
    r = record.result
    count = len(facts.batches)
    where = say("in {n} batches", n=count) if count > 1 else Markup("in one batch")
    tiles = [Tile(data(facts.picked, "count"), say("pairs picked, {where}", where=where))]
    tiles += _against_random(name, r)
    if r["certificate"] is not None:
        words = say(
            "at most, {above} (batch {name}; the solver’s certificate)", above=_above(r), name=name
        )
        tiles.append(Tile(data(r["certificate"], "percent"), words))
    else:
        words = say("solver’s certificate of batch {name}", name=name)
        tiles.append(Tile(Markup("none"), words, known=False))
    tiles.append(_gain_tile(facts))
    return tiles


def _against_random(name: str, r: dict[str, Any]) -> list[Tile]:
    """What the batch is predicted to be worth in random labels: the one verdict on that."""
    needs = r["labels_random_would_need"]
    if at_random(r) or needs is None:
        return []
    if needs == labels_of(r):
        equal = say("predicted for batch {name}: random pairs would do as well", name=name)
        return [Tile(Markup("no saving"), equal, known=False)]
    ratio = say("{x} ×", x=data(needs / labels_of(r), "short"))
    words = "the labels of batch {name}: what random pairs are predicted to need for the same gap"
    return [Tile(ratio, say(words, name=name))]


def _above(r: dict[str, Any]) -> Markup:
    """What a certificate bounds: the criterion's value, not what it is worth."""
    own = BEST.get(r["criterion"])
    if own:
        return say("from the {own}", own=own)
    text = "by which the criterion is above the least that a batch of its size can have"
    return Markup(text + (", if the model holds" if r["criterion"] == "adaptive" else ""))


def _gain_tile(facts: Facts) -> Tile:
    if facts.judged is None:
        return Tile(Markup("unknown"), Markup("gain: not evaluated"), known=False)
    value = facts.judged[1].result["gain"]
    words = say("in J over the reference, on held-out prompts: {who}", who=_of_whom(facts))
    shown = value["low"] is not None and (value["low"] > 0 or value["high"] < 0)
    if shown:
        return Tile(data(value["mean"], "signed"), words)
    return Tile(Markup("not shown"), Markup("gain: the interval holds 0, or is not known"), False)


def _picked(facts: Facts) -> Markup:
    if not facts.batches:
        return Markup("Nothing yet.")
    kinds = list(dict.fromkeys(record.result["criterion"] for _, record in facts.batches))
    controls = sum(record.result["controls"] for _, record in facts.batches)
    sentence = "{n} {pairs} from {candidates} candidates, by {how}"
    if controls:
        sentence += ", and {controls} control {more} of held-out prompts, never fitted"
    taken = len(from_drawer(facts.space))
    labels = ". {labels} {answers} {are} in" if facts.labels else ". No label is in yet"
    if taken:
        labels += ", {taken} of them from the drawer: they were there before, and were kept back"
    return say(
        f"{sentence}{labels}.",
        taken=data(taken, "count"),
        n=data(facts.picked, "count"),
        pairs=plural(facts.picked, "pair"),
        candidates=data(facts.batches[0][1].result["candidate_pairs"], "count"),
        how=" and ".join(HOW.get(kind, kind) for kind in kinds),
        controls=data(controls, "count"),
        more=plural(controls, "pair"),
        labels=data(facts.labels, "count"),
        answers=plural(facts.labels, "label"),
        are="is" if facts.labels == 1 else "are",
    )


def _certificates(facts: Facts) -> Markup:
    """How well each batch minimises its own criterion."""
    found = [_certificate(name, record.result) for name, record in facts.batches[-6:]]
    if any(record.result["certificate"] is not None for _, record in facts.batches[-6:]):
        words = "That is how well a criterion was solved, and not how many labels it saves."
        found.append(Markup(words))
    return Markup(" ").join(found)


def _certificate(name: str, r: dict[str, Any]) -> Markup:
    if r["certificate"] is None:
        why = (
            "its lower bound is not above 0 yet (more --passes)"
            if r["criterion"] in ("adaptive", "gap", *BEST)
            else "this criterion has none"
        )
        return say("Batch {name} has none: {why}.", name=name, why=why)
    own = BEST.get(r["criterion"])
    which = "within its limits" if r.get("limits") else "of its size"
    share = data(r["certificate"], "percent")
    if own:
        sentence = "Batch {name} is at most {share} from the {own}."
        return say(sentence, name=name, share=share, own=own)
    sentence = "{holds} criterion of batch {name} is at most {share} above the least that any batch {which} can have"
    if r["criterion"] == "adaptive":
        sentence += f" (what {'chance' if at_random(r) else 'caution'} costs included)"
    holds = "If the model holds, the" if r["criterion"] == "adaptive" else "The"
    return say(sentence + ".", name=name, share=share, which=which, holds=holds)


def _random(facts: Facts) -> Markup:
    return Markup(" ").join(_needs(name, record.result) for name, record in facts.batches[-6:])


def _needs(name: str, r: dict[str, Any]) -> Markup:
    if at_random(r):
        return say("Batch {name} is random itself.", name=name)
    needed = r["labels_random_would_need"]
    if needed is not None and needed < labels_of(r):
        sentence = "Random pairs in place of batch {name} are predicted to do better."
        return say(sentence, name=name)
    if needed == labels_of(r):
        sentence = "Random pairs in place of batch {name} are predicted to do as well."
        return say(sentence, name=name)
    sentence = (
        "For the gap that batch {name} is predicted to reach with {n}, random pairs are predicted "
        "to need {needs}."
    )
    if r["labels_random_would_need"] is None:
        sentence = (
            "What batch {name} is predicted to reach with {n}, random pairs are not "
            "predicted to reach with as many as were looked at."
        )
        if r.get("limits"):
            sentence = (
                "Batch {name} is predicted to reach {gap} with {n}, random batches within the "
                "same limits {random}."
            )
            gaps = {"gap": data(r["predicted_gap"]), "random": data(r["random_predicted_gap"])}
            return say(sentence, name=name, n=how_many(labels_of(r), "label"), **gaps)
    if r["labels_random_would_need"] is None:
        return say(sentence, name=name, n=how_many(labels_of(r), "label"))
    needs = data(r["labels_random_would_need"], "count")
    return say(sentence, name=name, n=how_many(labels_of(r), "label"), needs=needs)


def _trained(facts: Facts) -> Markup:
    """Of what the latest policy was made: labels, and what a fit taught it."""
    name, record = facts.policies[-1]
    taught = record.result.get("taught")
    made = say(
        "Policy {name}: DPO on {labels}",
        name=name,
        labels=how_many(record.result["labels"], "label"),
    )
    if not taught:
        return say("{made}.", made=made)
    return say(
        "{made}, and on {pairs} that nobody was asked about, taught by fit {fit}: what it gained is not "
        "the labels’ alone.",
        made=made,
        pairs=how_many(taught["pairs"], "pair"),
        fit=taught["fit"],
    )


def _of_whom(facts: Facts) -> str:
    """What the latest evaluation judged, in words."""
    assert facts.judged is not None
    record = facts.judged[1]
    name = record.result["policy"]
    return f"fit {name}" if record.settings.get("score") is not None else facts.policy(name)


def gain(facts: Facts) -> Markup:
    """What evaluation says was gained; “unknown” and why, without one."""
    if facts.judged is None:
        reason = NO_EVIDENCE
        if facts.pool and not facts.result.get("held_out_prompts"):
            reason = "this pool has no held-out prompts to evaluate on"
        return say("Unknown: {reason}.", reason=reason)
    record = facts.judged[1]
    r, value = record.result, record.result["gain"]
    values: dict[str, Any] = {k: data(v) for k, v in value.items()}
    values |= {
        "prompts": how_many(r["held_out_prompts"], "held-out prompt"),
        "judge": judge(record.settings),
        "who": _of_whom(facts),
    }
    values["by"] = data(abs(value["mean"]))
    if value["low"] is None:
        return say("Unknown: {prompts} gives no interval.", **values)
    if value["low"] <= 0 <= value["high"]:
        start = "None shown: the change in J by {who} is {mean}, and its 95 % interval, {low} to {high}, "
        return say(start + "holds 0 ({prompts}, by {judge}).", **values)
    verb = "rose" if value["low"] > 0 else "FELL"
    return say(
        "J = E r − β KL of {who} {verb} by {by} over the reference policy (95 % interval {low} to {high}, "
        "{prompts}, by {judge}). What random pairs would have gained was not "
        "measured here.",
        verb=verb,
        **values,
    )


def judge(settings: dict[str, Any]) -> Markup:
    """What stood for the reward: ``score judge_logit ÷ 4``."""
    kind = "score" if settings.get("score") is not None else "reward"
    name, scale = str(settings.get(kind)), settings.get("temperature", 1.0)
    if scale == 1.0:
        return say("{kind} <code>{name}</code>", kind=kind, name=name)
    return say(
        "{kind} <code>{name}</code> ÷ {scale}", kind=kind, name=name, scale=data(scale, "plain")
    )


def _warnings(facts: Facts) -> list[Markup]:
    run = shlex.quote(str(facts.root))
    found = []
    if facts.waiting:
        found.append(
            say(
                "{n} picked {pairs} for a label; predictions count them as labelled.",
                n=data(facts.waiting, "count"),
                pairs="pair waits" if facts.waiting == 1 else "pairs wait",
            )
        )
    made = judged_policy(facts)
    if made is not None and facts.stale(made[1]):
        found.append(
            say(
                "Labels came after {kind} {name} was made: its evaluation says nothing of them. "
                "<code>whichpairs {stage} --run {run}</code>",
                kind=made[2],
                name=made[0],
                stage="fit" if made[2] == "fit" else "train",
                run=run,
            )
        )
    return found


def judged_policy(facts: Facts) -> tuple[str, Any, str] | None:
    """Name, record and kind (fit or policy) of what the latest evaluation judged."""
    if facts.judged is None:
        return None
    settings = facts.judged[1].settings
    kind = "fits" if settings.get("score") is not None else "policies"
    name = facts.judged[1].result["policy"]
    record = dict(getattr(facts, kind)).get(name)
    return None if record is None else (name, record, "fit" if kind == "fits" else "policy")
