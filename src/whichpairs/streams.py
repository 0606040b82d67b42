"""Every random stream there is, by name: no two purposes may draw the same numbers.

A stream is NumPy's generator of a key: the seed, the stream's number, and what it is drawn for the
how many-th time. NumPy fills keys up with zeros, so that (seed,) and (seed, 0) are one key, and so
are (seed, 3) and (seed, 3, 0). Streams of a name (a pair's, a layer's) have its bytes in the
number's place.
"""

from enum import IntEnum, unique

import numpy as np


@unique
class Stream(IntEnum):
    """What is drawn at random. A number once used keeps its meaning: results hang on it."""

    FEATURES = 0
    """The projection, or the basis, of one feature set."""
    HOLDOUT = 1
    """Which prompts are held out."""
    FOLDS = 2
    """Which prompts of a fit are left out together."""
    PICK = 3
    """What a selection draws; then, for adaptive batches, how many pairs were known."""
    CONTROLS = 4
    """Control pairs."""
    BELIEF = 5
    """θ of a belief."""
    SOME_PROMPTS = 6
    """The prompts that stand for all in an expectation."""
    THEORY = 7
    """Of the bench of the theory."""
    NO_WORSE = 8
    """Random batches that a solve must beat; then which."""
    PLAN_BATCHES = 9
    """Batches that a plan imagines; then their labels, and which."""
    PLAN_POOLS = 10
    """Smaller pools that a plan imagines; then which."""
    TABULAR = 11
    """The bench's tabular pool."""
    CONTEXTUAL = 12
    """The bench's contextual pools."""
    VALIDATION = 20
    """Prompts that DPO sets aside."""
    RANDOM_BATCHES = 21
    """Random batches that a selection is compared with; then which."""
    REPORT_OTHERS = 22
    """Random candidates that the report shows beside a batch."""
    FIDELITY = 23
    """Random batches that a projection is judged by; then which."""
    PLAN_POOL_BATCHES = 24
    """Batches of the smaller pools that a plan imagines; then which."""
    KICKS = 25
    """Where the solver's search for a better batch begins again; then which."""
    SAMPLED_PROMPTS = 26
    """Prompts on which axes are fitted and projections judged."""
    DIFFERING = 27
    """Random pairs behind the share of those that differ."""
    ROUNDING = 28
    """The order in which a design's counts are made whole."""
    FORECAST_ORDERS = 31
    """Random pairs of a forecast; then which."""
    FORECAST_THETAS = 32
    """θ* of a forecast."""
    FORECAST_ANSWERS = 33
    """Answers of a forecast; then whose."""
    TAUGHT_PAIRS = 36
    """Pairs without a label on which a fit teaches a policy."""
    TAUGHT_ANSWERS = 37
    """Answers to those, where an export draws them."""
    PAPER = 38
    """The draw from the paper's design."""
    SHARES = 35
    """The pairs that a design of shares begins with."""
    SHARES_OF_PEOPLE = 39
    """Who of a team answers which pairs, and in which order each sees them."""
    GRADIENTS_BENCH = 77
    """Labels of the bench of gradient features."""


def stream(seed: int, name: Stream, *index: int) -> np.random.Generator:
    """The generator of one purpose.

    Args:
        seed: of the run, 0 or more; index: which of several streams of that name, each 0 or more.
    """
    return np.random.default_rng([seed, int(name), *index])


def stream_of(seed: int, name: str, *index: int) -> np.random.Generator:
    """The generator of a thing with a name of two letters or more, such as a pair or a layer.

    Its key is no numbered stream's: the first byte of a name is a printable character's, above 32
    and above every `Stream` but the bench's, whose keys end where a name goes on.
    """
    return np.random.default_rng([seed, *name.encode(), *index])


def bench_stream(*key: int) -> np.random.Generator:
    """The generator of something that the bench makes up itself, by its own seeds and no run's."""
    return np.random.default_rng(list(key))


def derived_seed(seed: int, number: int) -> int:
    """The seed of the `number`-th of several things that are made with one: the first has it
    itself."""
    if number == 0:
        return seed
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
