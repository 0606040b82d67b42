"""Commands from settings classes: a parameter that is one becomes the options of its fields.

    @with_settings(settings="whichpairs.workflow.settings.plan:PlanSettings")
    def command(run: RunOption, settings: "PlanSettings", json_: JsonOption = False) -> None:

The class is imported when the command is called (or asked for its help), not before.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, dataclass
from functools import cached_property
from importlib import import_module
from itertools import pairwise
from typing import Annotated, Any, TypeVar

import typer

from whichpairs.cli.options.unread import given
from whichpairs.setting import Field, check_ranges, settings_of, shown

Function = TypeVar("Function", bound=Callable[..., None])


@dataclass(frozen=True)
class Options:
    """The options of a settings class.

    Args:
        where: the class, or ``module:Class``.
        optional: there are no settings (None) where the first field is not given.
        without: fields that this command has no option for.
        before: told, before the settings are made, what the user gave (see `given`) and all values.
    """

    where: str | type
    optional: bool = False
    without: tuple[str, ...] = ()
    before: Callable[[Mapping[str, str], Mapping[str, Any]], None] | None = None

    @cached_property
    def kind(self) -> type:
        """The class."""
        if isinstance(self.where, type):
            return self.where
        module, name = self.where.split(":")
        found: type = getattr(import_module(module), name)
        return found

    @property
    def parameters(self) -> list[inspect.Parameter]:
        """One for each option, those of nested classes where these stand."""
        return list(self._parameters(self.kind))

    def _parameters(self, kind: type) -> Iterator[inspect.Parameter]:
        lead = self._lead if self.optional else None
        for one in settings_of(kind):
            if one.name in self.without:
                continue
            if one.inner is None:
                yield _parameter(one, optional=one.name == lead)
                continue
            inner = list(self._parameters(one.inner))
            if one.setting.after and inner:  # the whole block moves
                inner[0] = _after(inner[0], one.setting.after)
                inner[1:] = [_after(b, a.name) for a, b in pairwise(inner)]
            yield from inner

    @property
    def _lead(self) -> str:
        return next(settings_of(self.kind)).name

    def make(self, values: Mapping[str, Any]) -> Any:
        """The settings, or None.

        Raises:
            UserError: they cannot be.
        """
        if self.optional and values[self._lead] is None:
            return None
        return self._make(self.kind, values)

    def _make(self, kind: type, values: Mapping[str, Any]) -> Any:
        found: dict[str, Any] = {}
        for one in settings_of(kind):
            if one.inner is not None:
                found[one.name] = self._make(one.inner, values)
            elif one.name not in self.without:
                found[one.name] = _value(one, values[one.name])
        made = kind(**found)
        check_ranges(made)
        return made


def with_settings(**groups: str | type | Options) -> Callable[[Function], Function]:
    """Let parameters of a command be settings classes.

    Args:
        groups: the class of each, ``module:Class``, by the parameter's name.
    """

    def mark(function: Function) -> Function:
        made = {k: v if isinstance(v, Options) else Options(v) for k, v in groups.items()}
        function.__dict__["groups"] = made
        return function

    return mark


def expanded(function: Callable[..., None]) -> Callable[..., None]:
    """The command with an option for each field of its settings: what typer reads."""
    groups: dict[str, Options] = getattr(function, "groups", {})
    own = inspect.signature(function).parameters
    parameters: list[inspect.Parameter] = []
    for name, one in own.items():
        parameters += groups[name].parameters if name in groups else [_by_name(one)]
    if not any(one.annotation is typer.Context for one in parameters):
        context = inspect.Parameter("context", _BY_NAME, annotation=typer.Context)
        parameters.insert(0, context)

    def call(**values: Any) -> None:
        options = given(values["context"])
        made = {}
        for name, group in groups.items():
            if group.before is not None:
                group.before(options, values)
            made[name] = group.make(values)
        function(**{name: made[name] if name in made else values[name] for name in own})

    parameters = _in_order(parameters)
    call.__doc__ = function.__doc__
    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    call.__annotations__ = {one.name: one.annotation for one in parameters}
    return call


_BY_NAME = inspect.Parameter.KEYWORD_ONLY


@dataclass(frozen=True)
class _After:
    """In an annotation: the parameter that this one is listed after."""

    name: str


def _by_name(one: inspect.Parameter) -> inspect.Parameter:
    return one.replace(kind=_BY_NAME)


def _after(one: inspect.Parameter, name: str) -> inspect.Parameter:
    return one.replace(annotation=Annotated[one.annotation, _After(name)])


def _in_order(parameters: list[inspect.Parameter]) -> list[inspect.Parameter]:
    """Each where it wants to stand; one that is to stand after none of these stays."""
    names = {one.name for one in parameters}
    followers: dict[str | None, list[inspect.Parameter]] = {}
    for one in parameters:
        told = [
            x.name for x in getattr(one.annotation, "__metadata__", ()) if isinstance(x, _After)
        ]
        lead = told[-1] if told and told[-1] in names else None
        followers.setdefault(lead, []).append(one)

    def placed(lead: str | None) -> Iterator[inspect.Parameter]:
        for one in followers.get(lead, ()):
            yield one
            yield from placed(one.name)

    return list(placed(None))


def _parameter(one: Field, *, optional: bool) -> inspect.Parameter:
    """A field as typer reads it."""
    s = one.setting
    default: Any = s.default if one.default is MISSING else one.default
    default = MISSING if default is ... else default
    type_: Any = s.kind or (str if s.parse else one.type)
    if one.many:
        type_, default = list[str] | None, None
    elif s.parse is not None and default is not None and default is not MISSING:
        default = shown(default)
    if (default is None or optional) and not one.many:
        type_ = type_ | None
    if optional:
        default = None
    if s.argument:
        info: Any = typer.Argument(help=s.help)
    elif one.plain is bool and default:
        info = typer.Option(help=s.help)
    else:
        info = typer.Option(*one.flags, help=s.help)
    annotation = Annotated[type_, info, *([_After(s.after)] if s.after else [])]
    empty = inspect.Parameter.empty
    return inspect.Parameter(
        one.name,
        _BY_NAME,
        default=empty if default is MISSING else default,
        annotation=annotation,
    )


def _value(one: Field, read: Any) -> Any:
    """What an option's value is as a field."""
    if one.many:
        return tuple(read or ())
    if read is None:
        return None
    if one.setting.parse is not None:
        return one.setting.parse(read)
    return one.plain(read) if one.setting.kind is not None and one.plain is str else read
