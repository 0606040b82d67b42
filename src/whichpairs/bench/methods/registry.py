"""The methods by name. What `whichpairs select` has too is called here as it is there."""

from whichpairs.bench.methods.ours import (
    a_optimal,
    adaptive,
    d_optimal,
    gap,
    oracle,
    signal,
    trusting,
)
from whichpairs.bench.methods.paper import paper
from whichpairs.bench.methods.rank_all import RIVALS
from whichpairs.bench.methods.turn import Method

OURS, RANDOM = "adaptive", "random"

METHODS: dict[str, Method] = {
    **RIVALS,
    "gap": gap,
    "paper": paper,
    "d-optimal": d_optimal,
    "a-optimal": a_optimal,
    "signal": signal,
    "trusting": trusting,
    "oracle": oracle,
    OURS: adaptive,
}
"""Every method by name."""

IF_ASKED = ("d-optimal", "a-optimal")
"""Methods that run only where they are named: the grid has enough without them."""

PAIRED = (RANDOM, OURS)
"""The two whose difference is asked for most exactly: they run with the most seeds."""

PRINCIPAL = (*PAIRED, "oracle", "gap", "trusting")
"""Those that are shown in every table."""

CEILINGS = ("oracle",)
"""Methods that know the truth."""

NO_RIVALS = (RANDOM, OURS, "signal", "trusting", *CEILINGS)
"""Methods that are ours, or no method at all: whichever is best of the others is the best rival."""


def begins(method: str) -> tuple[str, ...]:
    """Where the code of a method begins, for `bench.fingerprint`."""
    return METHODS[method].__module__, "whichpairs.bench.methods.turn"
