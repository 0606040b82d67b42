"""Which policy a stage means, and which model it is compared with."""

from whichpairs.errors import UserError
from whichpairs.workflow.workspace import Workspace

REFERENCE = "reference"


def policy_name(space: Workspace, kind: str, name: str | None, option: str = "policy") -> str:
    """The policy (or fit, by `kind`) of that name, or the latest; `REFERENCE` where there is no
    policy.

    Raises:
        UserError: the run has none of that name, or no fit at all.
    """
    names = space.run.finished(kind)
    if name == REFERENCE:
        return REFERENCE
    if name is None and not names:
        if (
            kind != "fits"
        ):  # where there is no policy there is no model either: `reference_path` says so
            return REFERENCE
        raise UserError(
            "an evaluation by a score needs a fit",
            "there is none",
            f"run: whichpairs fit --run {space.run.root}",
        )
    if name is not None and name not in names:
        raise UserError(
            f"--{option} must name one of the run's",
            f"got {name!r}; there is {', '.join(names) or 'none'}",
        )
    return name or names[-1]


def reference_path(space: Workspace, name: str, model: str | None = None) -> str:
    """The model that the policy was trained from (the latest policy's, for the reference itself).

    Args:
        model: what the user calls the reference, where no policy has been trained.

    Raises:
        UserError: there is no policy, or it was trained from another model than `model`.
    """
    from whichpairs.lm.folder import identity

    record = space.run.record("policies", name)
    names = space.run.finished("policies")
    record = record or (space.run.record("policies", names[-1]) if names else None)
    if record is None and model is not None:
        return model
    if record is None:
        raise UserError(
            "a sampled evaluation needs a trained policy",
            "there is none",
            f"run: whichpairs train --run {space.run.root} --model PATH (or pass --model, for the "
            "reference)",
        )
    found = str(record.result["reference"])
    if model not in (None, found) and identity(str(model)) != identity(found):
        raise UserError(
            "--model must be the model that the policy was trained from",
            f"got {model}, and it was {found}",
            "leave --model out",
        )
    return found


def model_path(space: Workspace, name: str, reference: str) -> str:
    """Where the model of a policy lies; `reference` for the reference."""
    return reference if name == REFERENCE else str(space.run.root / "policies" / name / "model")


def reference_print(space: Workspace, name: str, model: str | None = None) -> str:
    """The fingerprint of that model: other files under its path are another reference.

    Raises:
        UserError: there is no policy, or no such model any more.
    """
    from whichpairs.lm.folder import identity

    return identity(reference_path(space, name, model))


def created(space: Workspace, kind: str, name: str) -> str | None:
    """When the policy or fit was made: a name alone could be another one's by now."""
    record = space.run.record(kind, name) if name != REFERENCE else None
    return record.created if record else None
