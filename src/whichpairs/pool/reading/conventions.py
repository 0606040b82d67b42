"""What a column says of which of two is preferred, in the conventions that people's files have.

A convention is a matter of the whole column: 0 and 1 alone may be an index, or 1 for the first.
What can be read in one way is read; for the rest the user is asked, with a `--label-map` that
works.
"""

import math
import re
import shlex
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from whichpairs.errors import UserError
from whichpairs.pool.raw.sources import show
from whichpairs.types import Choice
from whichpairs.wording import counted

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?")
MISSING = {"", "nan", "null"}
SIDES: dict[str, Choice] = {
    **dict.fromkeys(("a", "left", "first", "1st"), "a"),
    **dict.fromkeys(("b", "right", "second", "2nd"), "b"),
}
TIES = {
    *("ties", "tied", "draw", "equal", "same", "both", "neither", "both good", "both bad"),
    *("bothgood", "bothbad", "no preference", "about the same", "equally good", "equally bad"),
}
PREFIX = re.compile(
    "(model|response|answer|completion|option|assistant|output|candidate|choice|conversation|"
    "summary|reply|text|side|generation|chat|human ref)[ -]?(?=[a-z0-9])"
)
SUFFIX = re.compile(r" (is )?((much|slightly|clearly|significantly) )?(better|wins|won|preferred)")
COMPARED = re.compile(r"([ab]) ?(>+|<+|=+) ?([ab])")
NAME_END = re.compile(
    r"(?:(?<=[ _.\-])|^)([aAbB])$|(?<=[a-z])([AB])$|(left|right|first|second)$|(?<!\d)(\d)$"
)
IN_ORDER = {("a", "b"), ("left", "right"), ("first", "second"), ("1", "2"), ("0", "1")}
MAP_ITEM = re.compile(r"\s*([^,\s].*?)\s*=\s*(a|b|tie|skip)\s*(?:,|$)")
SIGNS = ("positive", "negative")
CHANCE = "probability"
"""A column of this name says how likely the first is the preferred one, as in files of answers."""
SHOWN = 6


@dataclass(frozen=True)
class Answers:
    """A column of preferences, understood.

    Attributes:
        choices: for every row the preferred one, ``"tie"``, or None where the row has no answer.
        meaning: what every value that occurs was read as, as first written; None: left out.
        unused: values of the user's map that do not occur.
    """

    choices: list[Choice | None]
    meaning: dict[str, Choice | None]
    unused: tuple[str, ...] = ()

    @property
    def tally(self) -> dict[str, int]:
        """How many rows say ``first``, ``second``, ``ties``, and how many are ``without``."""
        n = Counter(self.choices)
        return {"first": n["a"], "second": n["b"], "ties": n["tie"], "without": n[None]}

    def words(self, first: str = "first", second: str = "second") -> str:
        """E.g. ``3 first, 2 second, 1 tie (1 = first, 2 = second, 0 = tie)``."""
        n = self.tally
        text = f"{n['first']} {first}, {n['second']} {second}, {counted(n['ties'], 'tie')}"
        text += f", {n['without']} without an answer" if n["without"] else ""
        names = {"a": first, "b": second, "tie": "tie", None: "no answer"}
        read = [f"{value} = {names[choice]}" for value, choice in self.meaning.items()]
        if read:
            text += f" ({', '.join(read[:12])}{', …' if len(read) > 12 else ''})"
        return text + (f"; no row has {' or '.join(map(show, self.unused))}" if self.unused else "")


def label_map(text: str) -> dict[str, Choice | None]:
    """What ``1=a,0=b,VALUE=tie,VALUE=skip`` says of every value (None: to be left out).

    ``positive`` and ``negative`` stand for all numbers above and below 0.

    Raises:
        UserError: it is not of that form, or gives one value two meanings.
    """
    found: dict[str, Choice | None] = {}
    place = 0
    while place < len(text.rstrip(" ,")) or not found:
        item = MAP_ITEM.match(text, place)
        key = _key(item[1]) if item else None
        if item is None or key is None or found.get(key, item[2]) != item[2]:
            raise UserError(
                "--label-map must be VALUE=a,VALUE=b,VALUE=tie (or =skip), each value once",
                f"got {text!r}",
                "e.g. --label-map '1=a,2=b,0=tie'",
            )
        choice: dict[str, Choice | None] = {"a": "a", "b": "b", "tie": "tie", "skip": None}
        found[key] = choice[item[2]]
        place = item.end()
    return found


def understand_answers(
    values: Sequence[Any],
    column: str,
    where: Callable[[int], str],
    *,
    names: tuple[str, str] = ("a", "b"),
    given: str | None = None,
) -> Answers:
    """Read a column of preferences by the one convention that fits all of it.

    Words may be a/b, left/right, first/second, model_a/model_b and their like, the names of the two
    columns, tie, both_bad, "tie (bothbad)"; numbers 1 (first), 2 (second), 0 (tie), and 1.5 (a tie
    of 1 and 2); in a column called ``probability``, how likely the first is the preferred one.
    Numbers that are texts are numbers. Where the names of the columns end in b and a, in this
    order, so do the words: A is the second.

    Args:
        where: the place of a row, for messages.
        names: the columns of the first and the second.
        given: the user's `label_map`, which comes before all else.

    Raises:
        UserError: the column can be read in several ways, or not at all.
    """
    keys = [_key(value) for value in values]
    written: dict[str, str] = {}
    for row, key in enumerate(keys):
        if key is not None and key not in written:
            if not isinstance(values[row], str | int | float | Decimal):
                raise UserError(
                    "a label must be a text or a number",
                    f"{show(column)} is {show(values[row])} in {where(row)}",
                )
            written[key] = str(values[row]).strip()
    if not written:
        raise UserError(
            "a label column must hold labels",
            f"{show(column)} is empty in {counted(len(values), 'row')}, which is all",
        )
    wanted = {} if given is None else label_map(given)
    meaning = _meanings(list(written), names, wanted)
    if column == CHANCE and given is None and all(map(_is_chance, written)):
        meaning = {key: _likelier(float(key)) for key in written}
    unknown = [key for key in written if key not in meaning]
    if unknown:
        count = Counter(keys)
        shown = [
            f"{show(written[k])} ({where(keys.index(k)).partition(' of ')[0]}"
            + (f" and {count[k] - 1} more)" if count[k] > 1 else ")")
            for k in unknown[:SHOWN]
        ]
        idle = [k for k in wanted if k not in written and k not in SIGNS]
        raise _ask(
            column, [written[k] for k in unknown], shown, set(meaning.values()), names, given, idle
        )
    choices = [None if key is None else meaning[key] for key in keys]
    unused = tuple(k for k in wanted if k not in written and k not in SIGNS)
    return Answers(choices, {text: meaning[key] for key, text in written.items()}, unused)


def means_something(value: str, names: tuple[str, str]) -> bool:
    """Whether a value is a word of a convention, or a number."""
    key = _key(value)
    return key is None or bool(NUMBER.fullmatch(key)) or key in _meanings([key], names, {})


def _key(value: Any) -> str | None:
    """The form in which a value is looked up; None where it says nothing."""
    if value is None:
        return None
    if isinstance(value, bool | int):
        return str(value).lower()
    if isinstance(value, str):
        text = re.sub(
            r"[\s_\-]*[\s_]+[\s_\-]*", " ", value.strip().strip("[]\"'").casefold()
        ).strip()
        if text in MISSING:
            return None
        return _number_key(float(text)) if NUMBER.fullmatch(text) else text
    if isinstance(value, float | Decimal):
        return None if math.isnan(value) else _number_key(float(value))
    return show(value)


def _is_chance(key: str) -> bool:
    return bool(NUMBER.fullmatch(key)) and 0.0 <= float(key) <= 1.0


def _likelier(chance: float) -> Choice:
    return "a" if chance > 0.5 else "b" if chance < 0.5 else "tie"


def _number_key(number: float) -> str:
    return f"{number + 0.0:.12g}"


def _meanings(
    keys: list[str], names: tuple[str, str], given: Mapping[str, Choice | None]
) -> dict[str, Choice | None]:
    """What can be said of each key; keys that leave a doubt are not in it."""
    found: dict[str, Choice | None] = {key: given[key] for key in keys if key in given}
    order = _name_order(names)
    own = {_key(name): side for name, side in zip(names, ("a", "b"), strict=True)}
    numbers: dict[float, list[str]] = {}
    for key in keys:
        if key in found:
            continue
        core = PREFIX.sub("", key, count=1)
        if own.get(key) is not None and len(own) == 2:
            found[key] = "a" if own[key] == "a" else "b"
        elif NUMBER.fullmatch(core):
            numbers.setdefault(float(core), []).append(key)
        else:
            word = _word(core)
            if word is not None:
                found[key] = _mirrored(word) if order < 0 else word
    signs = {sign: given[sign] for sign in SIGNS if sign in given}
    for number, same in numbers.items():
        sign = "positive" if number > 0 else "negative"
        if number and sign in signs:
            found |= dict.fromkeys(same, signs[sign])
    left = {n for n, same in numbers.items() if same[0] not in found}
    read: dict[float, Choice] = {0.0: "tie"} if len(signs) == 2 else _numbers(left, names, order)
    for number in left & read.keys():
        found |= dict.fromkeys(numbers[number], read[number])
    return found


def _numbers(left: set[float], names: tuple[str, str], order: int) -> dict[float, Choice]:
    """The one way in which these numbers can be meant, or nothing."""
    if left == {0.5}:
        return {0.5: "tie"}
    if order < 0 and left - {0.0}:  # --pair-columns response_2,response_1: whose 1 is it?
        return {}
    if left <= {1.0, 1.5, 2.0} and left != {1.0}:
        return {1.0: "a", 1.5: "tie", 2.0: "b"}
    from_zero = all(name.endswith(end) for name, end in zip(names, "01", strict=True))
    if left <= {0.0, 1.0, 2.0} and 2.0 in left and not (from_zero and 0.0 in left):
        return {0.0: "tie", 1.0: "a", 2.0: "b"}
    return {}


def _word(text: str) -> Choice | None:
    text = SUFFIX.sub("", text).replace("-", " ")
    if text in TIES or re.match(r"tie\b", text):
        return "tie"
    compared = COMPARED.fullmatch(text)
    if compared and compared[1] != compared[3]:
        if compared[2].startswith("="):
            return "tie"
        return SIDES[compared[1] if compared[2].startswith(">") else compared[3]]
    return SIDES.get(text)


def _mirrored(choice: Choice) -> Choice:
    return "b" if choice == "a" else "a" if choice == "b" else "tie"


def _name_order(names: tuple[str, str]) -> int:
    """1 where the columns' names end in a and b (left and right, 1 and 2), −1 in b and a,
    else 0."""
    ends = []
    for name in names:
        end = NAME_END.search(name)
        ends.append(next(part for part in end.groups() if part).lower() if end else "")
    one, two = ends
    return ((one, two) in IN_ORDER) - ((two, one) in IN_ORDER)


def _ask(
    column: str,
    unknown: list[str],
    shown: list[str],
    known: set[Choice | None],
    names: tuple[str, str],
    given: str | None,
    idle: list[str],
) -> UserError:
    """The question to the user, with a map that works; what was given already stands in it, but for
    the values that do not occur."""
    rule = "a label column must say which of the two is preferred in one way"
    got = f"{show(column)} has {', '.join(shown)}"
    got += f" and {counted(len(unknown) - SHOWN, 'other value')}" if len(unknown) > SHOWN else ""
    if idle:
        got += f"; none is {' or '.join(map(show, idle[:SHOWN]))}, which --label-map names"
    one = f"the first ({names[0]})"
    numeric = [float(text) for text in unknown if NUMBER.fullmatch(text)]
    if given is None and len(numeric) == len(unknown) and set(numeric) <= {0.0, 0.5, 1.0}:
        half = ",0.5=tie" if 0.5 in numeric else ""
        return UserError(
            rule,
            f"{got}, which may be an index (0 is the first) or a score of the first (1: it won)",
            f"Say which: --label-map '1=a,0=b{half}' where 1 means that {one} won (as in SHP), "
            f"--label-map '0=a,1=b{half}' where it is an index",
        )
    if given is None and len(numeric) == len(unknown) and min(numeric) < 0:
        return UserError(
            rule,
            f"{got}, whose sign may mean either",
            f"Say which: --label-map 'positive=a,negative=b,0=tie' where above 0 means that {one} "
            "is better, --label-map 'positive=b,negative=a,0=tie' where it means the second (as in "
            "HelpSteer2)",
        )
    if len(numeric) == len(unknown) and min(numeric) >= 0.0 and max(numeric) <= 1.0:
        return UserError(
            rule,
            f"{got}, which may be probabilities",
            f"Call the column {CHANCE} where they say how likely {one} is the preferred one; else "
            "make one of a, b and tie of it",
        )
    if len(unknown) > SHOWN:
        return UserError(rule, got, "name another --label-column, or make one of a, b and tie")
    free = [to for to in ("a", "b", "tie") if to not in known]
    targets = (free + ["skip"] * len(unknown))[: len(unknown)]
    before = {} if given is None else {k: v for k, v in label_map(given).items() if k not in idle}
    example = ",".join(
        [f"{text}={to or 'skip'}" for text, to in before.items()]
        + [f"{text}={to}" for text, to in zip(unknown, targets, strict=True)]
    )
    return UserError(
        rule,
        got,
        f"Say what each means, a for {one}, b, tie or skip, e.g. --label-map "
        f"{shlex.quote(example)}",
    )
