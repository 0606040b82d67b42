"""What a label store is: the records it takes and gives, and the protocol that every back-end
keeps.

Answers are only ever added. A correction stands beside what it supersedes, which stays; what holds
for a pair is the last answer of its chain. `tests/test_stores.py` is the suite that a back-end must
pass.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from whichpairs.types import Label

Said = Literal["a", "b", "tie", "both_bad", "skip"]
"""What a person may say: "both bad" is a tie with a mark, a skip is no label."""
SAID: tuple[Said, ...] = ("a", "b", "tie", "both_bad", "skip")
STRENGTHS = (1, 2, 3, 4)
"""How much better the preferred one is, from a little to very much."""
MOST_COMMENT = 4000
"""Characters of a comment, at most."""
Settings = dict[str, Any]


@dataclass
class Added:
    """What became of labels that were handed in.

    Attributes:
        new: pairs that this annotator had not answered; same: answers that were there.
        replaced: corrections; outdated: answers that a correction had superseded, left as they are.
    """

    new: int = 0
    same: int = 0
    replaced: int = 0
    outdated: int = 0


@dataclass(frozen=True, slots=True)
class Task:
    """A pair that people are asked about.

    Attributes:
        id_a, id_b: its completions in the batch's order; wanted: how many people are to answer it.
    """

    pair_id: str
    id_a: str
    id_b: str
    batch: str
    wanted: int = 1


@dataclass(frozen=True, slots=True)
class Lease:
    """A pair lent to one annotator for a while.

    Attributes:
        handle: its name outside the store, random: tells neither the pair nor whether it is a
            repeat.
        turn: 0, or of a planned repeat to the same person 1.
        id_a, id_b: the completions in the order in which this annotator sees them, drawn once.
        began, ends: seconds since 1970.
    """

    handle: str
    pair_id: str
    annotator: str
    turn: int
    id_a: str
    id_b: str
    batch: str
    began: float
    ends: float


@dataclass(frozen=True, slots=True)
class Reply:
    """What an annotator says of a lease.

    Attributes:
        handle: the lease's; key: the client's own name for this reply: sent again, it counts once.
        strength: one of `STRENGTHS`, beside "a" or "b" only.
        shown, answered: seconds since 1970.
        corrects: whether it may supersede an earlier reply to the same lease.
    """

    handle: str
    key: str
    choice: Said
    strength: int | None = None
    comment: str | None = None
    shown: float | None = None
    answered: float | None = None
    corrects: bool = False


Kept = Literal["new", "same", "corrected", "late"]


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a reply; whatever it says, the reply is on disk.

    Attributes:
        kept: ``late`` where the lease had run out and others have the pair since: kept, but no
            label.
    """

    kept: Kept
    answer_id: int


@dataclass(frozen=True, slots=True)
class Answer:
    """One row of the store: something said once, by somebody, about one pair.

    Attributes:
        answer_id: in the order of acceptance; corrects: the first answer of its chain, None for
            that.
        turn: see `Lease`; id_a, id_b: in the order shown.
        probability: P(A preferred), where it was stated.
        shown, answered, created: UTC, ISO 8601.
        key, handle: see `Reply`; None where it came otherwise, from a file or a program.
        late: kept, but no label: see `Receipt`.
    """

    answer_id: int
    corrects: int | None
    pair_id: str
    annotator: str
    turn: int
    id_a: str
    id_b: str
    choice: Said
    probability: float | None
    strength: int | None
    comment: str | None
    batch: str
    shown: str | None
    answered: str | None
    key: str | None
    handle: str | None
    late: bool
    created: str


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to the project, or to an annotator: an invitation, a quiz, a
    pause."""

    event_id: int
    kind: str
    annotator: str | None
    data: Settings
    created: str


class LabelStore(Protocol):
    """The labels of one run."""

    @property
    def place(self) -> str:
        """Where it is, as a message names it."""

    def add(self, labels: Iterable[Label], sources: Mapping[str, Settings] | None = None) -> int:
        """`accept` without corrections; returns how many labels were new."""

    def accept(
        self,
        labels: Iterable[Label],
        sources: Mapping[str, Settings] | None = None,
        *,
        replace: bool = False,
    ) -> Added:
        """Accept all of `labels` or none.

        The same answer again is no new label. An answer that a correction superseded changes
        nothing when it is handed in again (unless `replace`).

        Args:
            sources: for an annotator that is a program, its settings; kept from the first time.
            replace: another answer of the same annotator supersedes the one before; both are kept.

        Raises:
            UserError: an annotator already answered one of these pairs otherwise, and not
                `replace`.
        """

    def contradicted(self, labels: Sequence[Label]) -> list[int]:
        """Which of `labels` their annotator has answered otherwise, here or earlier among them."""

    def all(self) -> list[Label]:
        """Every label as it stands, in the order first accepted.

        Skips, late replies and a person's answers to repeats are none.
        """

    def history(self) -> list[Label]:
        """Every label ever accepted, superseded ones included, each label's together."""

    def answers(self) -> list[Answer]:
        """Every row, in the order of acceptance."""

    def sources(self) -> dict[str, Settings]:
        """Settings of the annotators that are programs."""

    def pair_ids(self) -> set[str]:
        """Ids of the pairs that have at least one label."""

    def ask(self, tasks: Sequence[Task]) -> int:
        """Put pairs at the end of the queue; those that are there keep their place.

        Returns:
            How many were new.
        """

    def lease(
        self, annotator: str, count: int, seconds: float, *, repeat: float = 0.0
    ) -> list[Lease]:
        """Up to `count` pairs for an annotator: those lent already (renewed), then from the queue.

        A pair is lent to no more people than it wants answers from, and never to one who answered
        it.

        Args:
            seconds: until they come back by themselves.
            repeat: the share of an annotator's questions, in [0, 1), that ask an earlier one of
                theirs again, in the other order.
        """

    def lent(self, annotator: str, handle: str) -> Lease | None:
        """What a handle stands for, answered or not; None if it is not this annotator's."""

    def reply(self, annotator: str, reply: Reply) -> Receipt:
        """Keep a reply: it is on disk when this returns.

        Raises:
            UserError: no such lease of this annotator's; it has been answered otherwise, and the
                reply does not correct; or the reply breaks a rule.
        """

    def give_back(self, annotator: str) -> int:
        """All that is lent to an annotator comes back now; returns how much that was."""

    def left(self) -> int:
        """Answers that the queue still waits for."""

    def note(self, kind: str, annotator: str | None = None, data: Settings | None = None) -> None:
        """Write an event down."""

    def events(self, *kinds: str) -> list[Event]:
        """Events of these kinds (of all, where none is named), in order."""

    def close(self) -> None:
        """Let go of connections."""
