"""Options of what a fit teaches, which `train` and `export` share."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from whichpairs.errors import UserError

if TYPE_CHECKING:
    from whichpairs.train.teach import TeachSettings

TeachOption = Annotated[
    int | None,
    typer.Option(
        "--teach", help="Pairs without a label that the fit teaches, by soft labels of its own."
    ),
]
TeachPairsOption = Annotated[
    str | None,
    typer.Option(
        "--teach-pairs",
        help="Which: random (the default), margin, best-worst or best-worst-of-5, by the fit.",
    ),
]
TeachScaleOption = Annotated[
    float | None,
    typer.Option(
        "--teach-scale",
        help="Factor of the soft labels' logits (else 1); one knob with the learning rate.",
    ),
]
FitOption = Annotated[
    str | None, typer.Option("--fit", help="The fit that teaches; else the latest.")
]


def teach_settings(
    teach: int | None, *, needless: tuple[str | None, ...] = (), **given: Any
) -> "TeachSettings | None":
    """The settings, or None where nothing is to be taught.

    Args:
        needless: other options that say nothing without ``--teach``.
        given: fields of `TeachSettings` by name; None where the user gave none.

    Raises:
        UserError: an option of teaching without ``--teach``, or a value out of range.
    """
    given = {name: value for name, value in given.items() if value is not None}
    if teach is None:
        if given or any(one is not None for one in needless):
            raise UserError(
                "--teach-pairs, --teach-scale, --teach-labels, --label-weight and --fit say how --teach "
                "teaches",
                "got one of them without it",
                "pass --teach N, or leave that out",
            )
        return None
    from whichpairs.train.teach import TeachSettings

    return TeachSettings(teach, **given)
