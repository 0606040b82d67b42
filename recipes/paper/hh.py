"""The paper's HH experiment in small: a part of a preference set that is there already.

The annotators' answers of HH-RLHF (harmless-base, test split) are in a drawer; a method picks half, or 60 %, of the
pairs, one a prompt, and only those are answered. DPO trains the dialogue recipe's model on them, and its judge compares
what that writes to prompts of its own, at three temperatures and in both orders, with the reply that annotators
preferred there.
"""

import hashlib
import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kept import Cell, Job, Say, work_folder
from runs import METHODS, copy_run, one_thread, paper_features, pick, short_name

from whichpairs import import_pool, label_from_drawer, train_policy
from whichpairs.run.files import write_whole
from whichpairs.workflow.workspace import workspace

DIALOGUE = Path(__file__).parents[1] / "dialogue"
sys.path.append(str(DIALOGUE))
from judge_server import serving  # noqa: E402
from prepare import DATA, PROMPTS, read_dialogues, set_aside  # noqa: E402

MODEL = DIALOGUE / "model"
MEASURES = (
    "recipes/paper/hh.py",
    "recipes/dialogue/judge_server.py",
    "recipes/dialogue/prepare.py",
)
TEMPERATURES = (0.25, 0.7, 1.0)
DIM, CONTEXT, NEW_TOKENS = 128, 192, 48
BETA = 0.1
"""The paper's."""


@dataclass(frozen=True)
class Plan:
    """The experiment at one size, and where it is kept.

    Attributes:
        shares: of the pairs, to be picked; runs: trainings of each method and share; held_out: prompts
            that policies are judged on; batch_size: of DPO; most: pairs at most, None for all.
    """

    shares: tuple[float, ...]
    runs: int
    held_out: int
    learning_rate: float
    epochs: int
    batch_size: int
    most: int | None
    folder: Path

    @classmethod
    def of(cls, size: dict[str, Any], out: Path) -> "Plan":
        """With the folder that its inputs name; more runs, shares and prompts share one."""
        how = size["learning_rate"], size["epochs"], size["batch_size"], size.get("most")
        files = sorted([*MODEL.iterdir(), *(DIALOGUE / "judge").iterdir(), PROMPTS])
        content = [hash_of(file) for file in files]
        folder = work_folder(out / "hh", MEASURES, *content, *how, size["held_out"])
        return cls(tuple(size["shares"]), size["runs"], size["held_out"], *how, folder)

    def batches(self) -> list[Job]:
        """What each method would pick: no training."""
        return [
            Job(self.folder / "batches" / f"{_name(m, s, 0)}.json", batch, (self, m, s))
            for s in self.shares
            for m in METHODS
        ]

    def trainings(self) -> list[Job]:
        """The reference's win rates, and each method's, share's and run's."""
        first = Job(self.folder / "cells" / "reference.json", reference, (self,))
        return [
            first,
            *(
                Job(self.folder / "cells" / f"{_name(m, s, run)}.json", cell, (self, m, s, run))
                for run in range(self.runs)
                for s in self.shares
                for m in METHODS
            ),
        ]


def _name(method: str, share: float, run: int) -> str:
    return short_name(method, f"{100 * share:.0f}", run)


def hash_of(file: Path) -> str:
    """Of its bytes."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def prepare(plan: Plan, say: Say) -> None:
    """The pairs with their answers in the drawer, and the paper's features; kept."""
    one_thread()
    path, run = plan.folder / "pairs.jsonl", plan.folder / "pool"
    if not path.exists():
        write_whole(path, "\n".join(json.dumps(row) for row in pairs()[: plan.most]) + "\n")
    say(import_pool(path, run, labels="hidden", beta=BETA).message)
    paper_features(run, str(MODEL), DIM, say)


def pairs() -> list[dict[str, Any]]:
    """Dialogues that begin with no shipped prompt and fit the model's context, one a prompt."""
    from whichpairs.lm.encode import encode_all
    from whichpairs.lm.model import load
    from whichpairs.types import Example

    aside, tokenizer = set_aside(), load(MODEL).tokenizer
    found = {
        d.key: d for d in read_dialogues(DATA) if d.key not in aside and d.chosen != d.rejected
    }
    some = list(found.values())
    both = encode_all(
        tokenizer, [Example(d.prompt, text) for d in some for text in (d.chosen, d.rejected)]
    )
    return [
        {"prompt": list(d.prompt), "chosen": d.chosen, "rejected": d.rejected}
        for d, one, two in zip(some, both[::2], both[1::2], strict=True)
        if max(len(one), len(two)) <= CONTEXT
    ]


def labels_of(run: Path, share: float) -> int:
    """So much of the pairs, one of which a prompt has."""
    with workspace(run) as space:
        return round(share * len(space.pool.prompts))


def batch(plan: Plan, method: str, share: float) -> Cell:
    """What a method picks, and what the theory foretells of it."""
    one_thread()
    run = plan.folder / "runs" / f"batch-{_name(method, share, 0)}"
    copy_run(plan.folder / "pool", run)
    result = pick(run, method, labels_of(run, share), 0)
    with workspace(run) as space:
        keys = sorted(space.known_pairs)
    shutil.rmtree(run)
    names = ("labels", "candidate_pairs", "predicted_gap", "random_predicted_gap")
    return {"method": method, "share": share, "pairs": keys, **{n: result[n] for n in names}}


def cell(plan: Plan, method: str, share: float, seed: int) -> Cell:
    """Pick, take the answers from the drawer, train once, and let the judge compare."""
    one_thread()
    run = plan.folder / "runs" / _name(method, share, seed)
    copy_run(plan.folder / "pool", run)
    picked = pick(run, method, labels_of(run, share), seed)
    label_from_drawer(run)
    trained = train_policy(
        run,
        MODEL,
        learning_rate=plan.learning_rate,
        epochs=plan.epochs,
        batch_size=plan.batch_size,
        seed=seed,
    )
    assert trained.folder is not None
    won = wins(plan, trained.folder / "model")
    shutil.rmtree(run / "policies")
    about = {"method": method, "share": share, "run": seed, "labels": picked["labels"]}
    return {**about, "loss": trained.result["final_loss"], "wins": won}


def reference(plan: Plan) -> Cell:
    """Win rates of the model before any DPO."""
    one_thread()
    return {"method": "reference", "wins": wins(plan, MODEL)}


def wins(plan: Plan, policy: Path) -> list[list[float]]:
    """By temperature and held-out prompt: 1 where the policy's reply beats the annotators' chosen one, ½ a tie."""
    from whichpairs.endpoint.client import Client, ServerSettings
    from whichpairs.evaluate.winrate import WORTH
    from whichpairs.generate.transformers import Sampling, sample
    from whichpairs.label.judge import Question, judge
    from whichpairs.lm.model import load

    rows = [json.loads(line) for line in PROMPTS.read_text(encoding="utf-8").splitlines()]
    held = [row for row in rows if row["use"] == "experiment"][: plan.held_out]
    prompts, lm, found = [tuple(row["prompt"]) for row in held], load(policy), []
    with serving() as url:
        client = Client(ServerSettings(url, "small-judge-0"))
        for temperature in TEMPERATURES:
            asked = Sampling(n=1, max_new_tokens=NEW_TOKENS, temperature=temperature)
            drawn = sample(lm, prompts, asked, seed=0)
            questions = [
                Question(prompt, one[0].text, row["reply"])
                for prompt, one, row in zip(prompts, drawn, held, strict=True)
            ]
            found.append([WORTH[verdict.choice] for verdict in judge(client, questions)])
    return found
