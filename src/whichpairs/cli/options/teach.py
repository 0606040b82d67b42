"""Options of what a fit teaches, which `train` and `export` share."""

from collections.abc import Mapping
from typing import Any

from whichpairs.errors import UserError

TEACH = "whichpairs.train.settings:TeachSettings"
_ABOUT_IT = ("pairs", "scale", "label_weight", "fit", "teach_labels")
"""Parameters that say nothing without ``--teach``."""


def check_teach(options: Mapping[str, str], values: Mapping[str, Any]) -> None:
    """Refuse how to teach where nothing is to be taught.

    Raises:
        UserError: an option of teaching without ``--teach``.
    """
    if values["count"] is None and any(name in options for name in _ABOUT_IT):
        raise UserError(
            "--teach-pairs, --teach-scale, --teach-labels, --label-weight and --fit say how "
            "--teach teaches",
            "got one of them without it",
            "pass --teach N, or leave that out",
        )
