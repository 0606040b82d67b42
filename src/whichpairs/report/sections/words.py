"""Words that several sections share: how pairs are picked, who judged, a mean with its interval."""

from markupsafe import Markup

from whichpairs.evaluate.interval import Interval
from whichpairs.report.data.records import Evaluated
from whichpairs.report.page.format import data, say

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
"""How each criterion picks."""

NO_EVIDENCE = "no fitted or trained policy has been evaluated on held-out prompts"


def judge(one: Evaluated) -> Markup:
    """What stood for the reward: ``score judge_logit ÷ 4``."""
    kind, name = ("reward", one.reward) if one.score is None else ("score", one.score)
    if one.temperature == 1.0:
        return say("{kind} <code>{name}</code>", kind=kind, name=str(name))
    scale = data(one.temperature, "plain")
    sentence = "{kind} <code>{name}</code> ÷ {scale}"
    return say(sentence, kind=kind, name=str(name), scale=scale)


def interval_cell(value: Interval, form: str = "number") -> Markup:
    """``0.2 (0.1 … 0.3)``; the mean alone where there is no interval."""
    if value.low is None or value.high is None or abs(value.high - value.low) < 1e-12:
        return data(value.mean, form)
    ends = {"low": data(value.low, form), "high": data(value.high, form)}
    return say(
        '{mean} <span class="ends">({low} … {high})</span>', mean=data(value.mean, form), **ends
    )
