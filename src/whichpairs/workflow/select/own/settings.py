"""What stage select is told where the criterion is the user's own, and where that is found."""

import hashlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING

from whichpairs.errors import UserError, one_line
from whichpairs.workflow.select.settings import CRITERIA, SelectSettings

if TYPE_CHECKING:
    import numpy as np

    from whichpairs.design import Criterion
    from whichpairs.pool.pool import Pool
    from whichpairs.workflow.select.stage import Desk

GROUP = "whichpairs.criteria"


class Known:
    """What a criterion may look at."""

    def __init__(self, desk: "Desk") -> None:
        self._desk = desk

    @property
    def pool(self) -> "Pool":
        """Prompts and completions; ``pool.numbers(column)`` is a column of numbers, by row."""
        return self._desk.space.pool

    @property
    def features(self) -> "np.ndarray":
        """φ of every completion of the pool, (rows, d), float64."""
        import numpy as np

        return np.asarray(self._desk.phi, np.float64)

    @property
    def beta(self) -> float:
        """β of the run."""
        return self._desk.beta

    @property
    def theta(self) -> "np.ndarray":
        """θ of a fit of the labels so far, (d,); 0 before the first."""
        return self._desk.evidence.fit.theta


Maker = Callable[[Known], "Criterion"]


@dataclass(frozen=True)
class Own:
    """A criterion that is not one of ours.

    Attributes:
        name: as the user gave it; make: the function; digest: of the file, or of the package's
            version: a batch is picked anew where it is another.
    """

    name: str
    make: Maker
    digest: str


@dataclass(frozen=True)
class OwnSelectSettings(SelectSettings):
    """As `SelectSettings`; the criterion may also be ``FILE.py:NAME``, or one of a package's."""

    def __post_init__(self) -> None:
        name = self.criterion
        if name not in CRITERIA:
            assert self.own is not None
            object.__setattr__(self, "criterion", "gap")  # whose other settings it shares
        super().__post_init__()
        object.__setattr__(self, "criterion", name)

    @cached_property
    def own(self) -> Own | None:
        """The criterion, where it is none of ours."""
        return None if self.criterion in CRITERIA else find_own(self.criterion)


def find_own(name: str) -> Own:
    """The criterion of a file, or of an installed package.

    Raises:
        UserError: there is none of this name, or its file cannot be run.
    """
    path, colon, function = name.rpartition(":")
    if colon and path.endswith(".py"):
        return _of_file(name, Path(path), function)
    found = registered().get(name)
    if found is None:
        raise UserError(
            f"criterion must be one of {', '.join([*CRITERIA, *registered()])}, or FILE.py:NAME",
            f"got {name!r}",
        )
    version = found.dist.version if found.dist else ""
    return Own(name, _callable(found.load(), name), f"{found.value} {version}")


def registered() -> dict[str, EntryPoint]:
    """The criteria of installed packages, by name."""
    return {one.name: one for one in entry_points(group=GROUP) if one.name not in CRITERIA}


def _of_file(name: str, path: Path, function: str) -> Own:
    try:
        code = path.read_bytes()
    except OSError:
        raise UserError("a criterion's file must be readable", f"there is no {path}") from None
    spec = importlib.util.spec_from_file_location("whichpairs_own_criterion", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise UserError("a criterion's file must run", f"{path}: {one_line(str(error))}") from error
    if not hasattr(module, function):
        raise UserError(
            "a criterion is a function of its file", f"{path} has nothing named {function!r}"
        )
    return Own(name, _callable(getattr(module, function), name), hashlib.sha256(code).hexdigest())


def _callable(found: object, name: str) -> Maker:
    if not callable(found):
        raise UserError("a criterion is a function", f"{name} is none")
    return found  # type: ignore[no-any-return]
