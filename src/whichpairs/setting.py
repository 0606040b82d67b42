"""What a user can set, said once: the fields of a settings class, with help, unit and range.

    @dataclass(frozen=True)
    class PlanSettings:
        budget: Annotated[int | None, Setting("Labels that the verdict is about.", low=1)] = None

From this follow the option of the command line (`cli.options.from_settings`), its row in
docs/commands.md, the check of its range, and the command that a report shows. A field without a
`Setting` is none of the command line's; a field that is a settings class brings its own.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from whichpairs.errors import UserError


@dataclass(frozen=True)
class Setting:
    """What is to be known of a setting beside its name, type and default.

    Args:
        help: one line for people; "" where a settings class is nested.
        flags: how the option is written; by default two dashes and the name.
        argument: it is given by its place, without a flag.
        low, high: the least and the most that it can be, these included.
        above, below: what it must stay above and below.
        unit: what it counts, e.g. ``labels``.
        words: what errors call it; by default the name.
        read_by: the ways of the command that read it; all, where none is named.
        after: the option that it is listed after; by default it stands in the order of the fields.
        kind: the type that the command line reads, where it is not the field's own.
        parse: makes the field's value of the option's text.
        default: the command line's, where the field has none; `...` is none either.
    """

    help: str = ""
    flags: tuple[str, ...] = ()
    argument: bool = False
    low: float | None = None
    high: float | None = None
    above: float | None = None
    below: float | None = None
    unit: str = ""
    words: str = ""
    read_by: tuple[str, ...] = ()
    after: str | None = None
    kind: type | None = None
    parse: Callable[[str], Any] | None = field(default=None, repr=False)
    default: Any = ...

    @property
    def ranged(self) -> bool:
        """Whether it has a range."""
        return any(x is not None for x in (self.low, self.high, self.above, self.below))


@dataclass(frozen=True)
class Field:
    """A field that a user sets.

    Attributes:
        name, type, default: the field's; the default is `dataclasses.MISSING` where there is none.
        setting: what is said of it; inner: the settings class that it is, if it is one.
    """

    name: str
    type: Any
    default: Any
    setting: Setting
    inner: type | None = None

    @property
    def flags(self) -> tuple[str, ...]:
        """How its option is written."""
        return self.setting.flags or ("--" + self.name.replace("_", "-"),)

    @property
    def flag(self) -> str:
        """The longest of them."""
        return max(self.flags, key=len)

    @property
    def may_be_none(self) -> bool:
        """Whether None is among its values."""
        return NoneType in get_args(self.type)

    @property
    def plain(self) -> Any:
        """Its type without None."""
        if get_origin(self.type) not in (Union, UnionType):
            return self.type
        first, *more = (one for one in get_args(self.type) if one is not NoneType)
        return self.type if more else first

    @property
    def many(self) -> bool:
        """Whether it is a tuple of texts: an option that may be given again."""
        return get_origin(self.plain) is tuple and self.setting.parse is None

    def check(self, value: Any) -> None:
        """Refuse a value out of range.

        Raises:
            UserError: it is.
        """
        s = self.setting
        if not s.ranged or (value is None and self.may_be_none):
            return
        whole = self.plain is int
        right = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
        if not right or not _within(s, value):
            name = s.words or self.name.replace("_", " ")
            got = f"{value:g}" if isinstance(value, float) else f"{value}"
            raise UserError(f"{name} must be {_range(s, whole)}", f"got {got}")

    def option(self, value: Any) -> list[str]:
        """The words of a command that set it; none for None and for the default."""
        value = tuple(value) if isinstance(value, list) else value
        if value is None or value == self.default:
            return []
        if isinstance(value, bool):
            return [self.flag if value else f"--no-{self.flag[2:]}"]
        texts = value if self.many else [value]
        return [word for text in texts for word in (self.flag, shown(text))]


def _within(s: Setting, value: float) -> bool:
    return (
        abs(value) < float("inf")
        and (s.low is None or value >= s.low)
        and (s.high is None or value <= s.high)
        and (s.above is None or value > s.above)
        and (s.below is None or value < s.below)
    )


def _range(s: Setting, whole: bool) -> str:
    """A range in words: ``a whole number of at least 1``, ``a finite number above 0``."""
    of = f" of {s.unit}" if s.unit else ""
    if s.low is not None and s.high is not None:
        return f"{'a whole number ' if whole else ''}between {s.low:g} and {s.high:g}{of}"
    if s.low is not None and s.below is not None:
        return f"at least {s.low:g} and below {s.below:g}{of}"
    least = f"at least {s.low:g}" if s.low is not None else ""
    most = f"at most {s.high:g}" if s.high is not None else ""
    over = f"above {s.above:g}" if s.above is not None else ""
    under = f"below {s.below:g}" if s.below is not None else ""
    bounds = " and ".join(filter(None, (over, least, most, under)))
    number = "a whole number" if whole else "a finite number"
    return f"{number}{of} {bounds}" if over or of else f"{number} of {bounds}"


def settings_of(kind: type) -> Iterator[Field]:
    """The fields of a settings class that a user sets, in their order."""
    hints = get_type_hints(kind, include_extras=True)
    for one in fields(kind):
        hint = hints[one.name]
        said = next((x for x in getattr(hint, "__metadata__", ()) if isinstance(x, Setting)), None)
        type_ = get_args(hint)[0] if get_origin(hint) is Annotated else hint
        inner = type_ if isinstance(type_, type) and is_dataclass(type_) else None
        if said is None and inner is None:
            continue
        yield Field(one.name, type_, one.default, said or Setting(), inner)


def check_ranges(settings: Any) -> None:
    """Refuse what is out of its range.

    Args:
        settings: an object of a settings class.

    Raises:
        UserError: a field is out of the range that its `Setting` states.
    """
    for one in settings_of(type(settings)):
        if one.inner is None:
            one.check(getattr(settings, one.name))


def options(kind: type, values: Mapping[str, Any]) -> list[str]:
    """Values as a command takes them, those left out that are the default or None.

    Args:
        kind: a settings class; values: by the name of its fields; others are left out.
    """
    return [word for one in flat(kind) for word in one.option(values.get(one.name))]


def flat(kind: type) -> Iterator[Field]:
    """As `settings_of`, with the fields of nested settings classes in their place."""
    for one in settings_of(kind):
        yield from [one] if one.inner is None else flat(one.inner)


def shown(value: Any) -> str:
    """A value as a user types it: ``2`` for 2.0, several with commas between."""
    if isinstance(value, float) and float(f"{value:g}") == value:
        return f"{value:g}"
    if isinstance(value, tuple | list):
        return ",".join(map(shown, value))
    return str(value)


SEED = Setting("Seed; else the run's.", low=0, after="beta")
"""Of a stage of a run that has a seed."""
