"""Dialogues from HH-RLHF for the recipe: read them, and set the experiment's prompts aside.

    .venv/bin/python recipes/dialogue/prepare.py --data hh_harmless_test.parquet

Writes prompts.jsonl, which the repository ships (HH-RLHF is under the MIT licence), so that the recipe runs from a
clone. Neither the language model nor the judge is trained on a dialogue that begins with one of these prompts.
The harmless-base split is people trying to get a model to misbehave: dialogues with slurs or explicit words are left
out everywhere, and those about certain groups, minors, killing or private addresses besides are not shipped as prompts.
"""

import argparse
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
DATA = HERE.parents[2] / "shared" / "data" / "hh_harmless_test.parquet"
PROMPTS = HERE / "prompts.jsonl"
LONGEST, LONGEST_REPLY = 300, 400
"""Characters of a shipped prompt and of its reply, at most: the model's context is 192 tokens."""
COUNTS = {"experiment": 340, "tuning": 180}
EXPLICIT = (
    "fuck|shit|bitch|cunt|nigg|fag|dick|cock|penis|vagin|sex|porn|rape|rapist|raping|molest|pedo|"
    "masturb|orgasm|nude|nudity|naked|whore|slut|prostit|pussy|tits|boob|retard|incest"
)
SENSITIVE = (
    "suicid|nazi|hitler|jew|musl|islam|black|white|asian|mexic|race|racis|gay|lesb|trans|"
    "child|kid|teen|minor|baby|babies|gore|bomb|slave|genocid|kill|murder|indian|chinese|african|"
    "hispanic|address|phone number"
)
PLAIN = str.maketrans("‘’“”", "''\"\"")
"""Typographic quotes take three tokens each of a small byte-level vocabulary."""
_TURN = re.compile(r"\n\n(Human|Assistant):[ \t]?")


@dataclass(frozen=True)
class Dialogue:
    """One prompt of HH-RLHF with its two replies.

    Attributes:
        prompt: ``{"role", "content"}`` messages, the last one the user's.
        chosen, rejected: the reply that an annotator preferred, and the other.
    """

    prompt: tuple[dict[str, str], ...]
    chosen: str
    rejected: str

    @property
    def key(self) -> str:
        """What tells prompts apart."""
        return json.dumps(self.prompt, ensure_ascii=False)

    def mentions(self, stems: str) -> bool:
        """Whether a word of the dialogue begins with one of `stems`."""
        text = " ".join([*(m["content"] for m in self.prompt), self.chosen, self.rejected])
        return re.search(rf"\b({stems})", text, re.IGNORECASE) is not None


def read_dialogues(path: Path) -> Iterator[Dialogue]:
    """HH-RLHF's rows that are dialogues (turns that alternate, two replies), without the explicit ones."""
    import polars as pl

    for row in pl.read_parquet(path).iter_rows(named=True):
        pieces = _TURN.split(row["prompt"].translate(PLAIN))
        speakers, said = pieces[1::2], [text.strip() for text in pieces[2::2]]
        chosen, rejected = (
            row[k].translate(PLAIN).strip() for k in ("chosen_reply", "rejected_reply")
        )
        turns = len(speakers) // 2
        alternate = speakers == ["Human", "Assistant"] * turns
        if not alternate or not all([turns, *said[:-1], chosen, rejected]):
            continue
        roles = ["user", "assistant"] * turns
        messages = [{"role": r, "content": s} for r, s in zip(roles, said, strict=True)]
        one = Dialogue(tuple(messages[:-1]), chosen, rejected)
        if not one.mentions(EXPLICIT):
            yield one


def set_aside(path: Path = PROMPTS) -> set[str]:
    """The keys of the shipped prompts."""
    rows = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    return {json.dumps(row["prompt"], ensure_ascii=False) for row in rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--out", type=Path, default=PROMPTS)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    dialogues = list(read_dialogues(options.data))
    fit = [
        d
        for d in dialogues
        if sum(len(m["content"]) for m in d.prompt) <= LONGEST
        and len(d.chosen) <= LONGEST_REPLY
        and not d.mentions(SENSITIVE)
    ]
    different = list({d.key: d for d in fit}.values())
    order = np.random.default_rng(options.seed).permutation(len(different))
    uses = [use for use, count in COUNTS.items() for _ in range(count)]
    rows = [
        {"use": use, "prompt": different[i].prompt, "reply": different[i].chosen}
        for use, i in zip(uses, order, strict=False)
    ]
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    options.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{len(dialogues)} dialogues kept, {len(different)} short prompts; {len(rows)} written")


if __name__ == "__main__":
    main()
