"""Words of the field as the page explains them: at the word itself, and all together at its end.

A word is a link to its entry, with the explanation shown at hovering and at keyboard focus by the
style sheet alone; a tap on a phone goes to the entry, and so does a reader on paper.
"""

from markupsafe import Markup, escape

GLOSSARY = {
    "label": "One answer to one pair: A is better, B is better, or a tie.",
    "random pairs": "Pairs drawn evenly from all candidate pairs: what a design has to beat.",
    "J": "Mean reward − β × KL: what DPO is to make large. More reward is good, walking far from the "
    "reference for it is not.",
    "KL": "How far a policy has moved from the reference, in nats; 0 is not at all.",
    "reference": "The model that training begins from.",
    "predicted gap": "How much J the policy of the labels is expected to lack to the best one, over all "
    "that is believed of rewards and of answers to come. It assumes that preferences follow the "
    "features; less is better.",
    "held out": "Prompts set aside at import: nothing is trained on them, so they can judge.",
    "control pairs": "Random pairs of held-out prompts: their labels judge a fit and are never fitted.",
    "fit": "What the labels say of every pair of the pool: a Bradley–Terry model of the features.",
    "log loss": "How surprised a fit is by answers it has not seen, in nats an answer; a coin has 0.693, "
    "less is better.",
    "calibrated": "Of pairs to which a fit gives 80 %, 80 % turn out so.",
    "certificate": "How far, at most, the batch is from the best possible one by its own criterion. It "
    "says how well a sum was done, and nothing of how many labels are saved.",
    "margin": "How sure the fit is of a pair: the distance of its probability from a half, in logits.",
    "features": "The numbers that stand for a completion: words, or a model's view of it.",
    "taught": "Trained also on pairs that nobody was asked about, with the fit’s opinion as the label.",
    "95 % interval": "What repeats of the measurement would mostly give: where it holds 0, no difference "
    "is shown.",
    "position bias": "That the completion shown first wins more often than half, whatever it says.",
    "κ": "Cohen’s kappa: agreement of two people beyond chance; 1 is full, 0 is what chance would give.",
}
"""Each word and what it means, in a sentence or two."""


def term(word: str, shown: str | None = None) -> Markup:
    """A word of the glossary, written as it is or as `shown`."""
    link = '<a class="term" href="#{anchor}" data-tip="{tip}">{shown}</a>'
    return Markup(link).format(anchor=anchor(word), tip=GLOSSARY[word], shown=shown or word)


def anchor(word: str) -> str:
    """The id of a word's entry."""
    return "term-" + "".join(c if c.isalnum() else "-" for c in str(escape(word)).lower())
