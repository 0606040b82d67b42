"""Teach the IMDb recipe's language model to take turns: the recipe's small dialogue model, in 20 minutes on one core.

    .venv/bin/python recipes/dialogue/train_lm.py --out recipes/dialogue/model --minutes 20

recipes/imdb/model (a GPT-2 of about a million parameters, trained from nothing by recipes/imdb/train_lm.py) knows some
English. It gets two turn tokens, a longer context and a chat template, and goes on with the dialogues of HH-RLHF.
Dialogues that begin with a prompt of prompts.jsonl are kept out, and so is a twentieth of the others, whose perplexity
is printed. The template puts a role token before every turn and the end-of-text token after it.

The learning-rate schedule follows the clock, so that two runs agree only nearly.
"""

import argparse
import math
import platform
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import transformers
from prepare import DATA, HERE, SENSITIVE, Dialogue, read_dialogues, set_aside
from transformers import AutoTokenizer, GPT2LMHeadModel, PreTrainedTokenizerFast

BASE = HERE.parent / "imdb" / "model"
EOS, USER, ASSISTANT = "<|endoftext|>", "<|user|>", "<|assistant|>"
CONTEXT, DROPOUT, HELD_OUT, REPORT_EVERY = 192, 0.05, 0.05, 60.0
TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + eos_token }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


@dataclass(frozen=True)
class Stream:
    """Texts as one row of tokens, and where each begins."""

    tokens: np.ndarray
    starts: np.ndarray

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerFast, texts: list[str]) -> "Stream":
        """Every text ends in its own end-of-text token already."""
        core = tokenizer.backend_tokenizer
        pieces = [np.array(item.ids, dtype=np.int32) for item in core.encode_batch_fast(texts)]
        starts = np.cumsum([0, *(len(piece) for piece in pieces[:-1])])
        filler = np.full(CONTEXT + 1, tokenizer.eos_token_id, dtype=np.int32)
        return cls(np.concatenate([*pieces, filler]), starts)

    def windows(self, rng: np.random.Generator, size: int, from_start: float) -> np.ndarray:
        """`size` windows of CONTEXT + 1 tokens, a share `from_start` of them at a text's beginning."""
        anywhere = rng.integers(0, len(self.tokens) - CONTEXT, size)
        begins = self.starts[rng.integers(0, len(self.starts), size)]
        begins = np.where(rng.random(size) < from_start, begins, anywhere)
        return self.tokens[begins[:, None] + np.arange(CONTEXT + 1)].astype(np.int64)


def transcripts(dialogues: list[Dialogue]) -> Iterator[str]:
    """Both replies of every dialogue, as the chat template writes them."""
    for one in dialogues:
        before = "".join(f"<|{m['role']}|>{m['content']}{EOS}" for m in one.prompt)
        for reply in (one.chosen, one.rejected):
            yield f"{before}{ASSISTANT}{reply}{EOS}"


def read_base(folder: Path) -> tuple[GPT2LMHeadModel, PreTrainedTokenizerFast]:
    """The IMDb model with two more tokens and CONTEXT places, and its tokenizer with a chat template.

    A new place begins as a copy of an old one, counted from the end; a new token as a draw from the
    distribution of the old ones.
    """
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_special_tokens({"additional_special_tokens": [USER, ASSISTANT]})
    tokenizer.chat_template, tokenizer.model_max_length = TEMPLATE, CONTEXT
    model = GPT2LMHeadModel.from_pretrained(
        folder, dtype=torch.float32, resid_pdrop=DROPOUT, embd_pdrop=DROPOUT, attn_pdrop=DROPOUT
    )
    model.resize_token_embeddings(len(tokenizer))
    old = model.transformer.wpe.weight.data
    places = torch.nn.Embedding(CONTEXT, old.shape[1])
    places.weight.data = torch.cat([old, old[len(old) - CONTEXT :]])[:CONTEXT].clone()
    model.transformer.wpe = places
    model.config.n_positions = CONTEXT
    for block in model.transformer.h:  # its causal mask has the old length
        if hasattr(block.attn, "bias"):
            block.attn.bias = torch.tril(torch.ones(1, 1, CONTEXT, CONTEXT, dtype=torch.bool))
    return model, tokenizer


def loss_of(model: GPT2LMHeadModel, windows: np.ndarray) -> torch.Tensor:
    """Mean cross-entropy, nats a token."""
    ids = torch.from_numpy(windows)
    inputs = ids[:, :-1]
    logits = model(inputs, attention_mask=torch.ones_like(inputs), use_cache=False).logits
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())


def learning_rate(progress: float, peak: float) -> float:
    """Linear warm-up over the first fiftieth, then a cosine down to a hundredth of the peak."""
    if progress < 0.02:
        return peak * max(progress / 0.02, 1e-3)
    return peak * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (progress - 0.02) / 0.98)))


def train(
    model: GPT2LMHeadModel,
    dialogues: Stream,
    held: np.ndarray,
    options: argparse.Namespace,
) -> None:
    """Train for `options.minutes`; print the held-out loss as it goes."""
    rng = np.random.default_rng(options.seed)
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    others = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=options.lr, betas=(0.9, 0.95), fused=True)
    budget, began, step, running, next_report = (
        options.minutes * 60,
        time.perf_counter(),
        0,
        0.0,
        0.0,
    )
    while (elapsed := time.perf_counter() - began) < budget:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(elapsed / budget, options.lr)
        loss = loss_of(model.train(True), dialogues.windows(rng, options.batch, 0.6))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        step += 1
        running = loss.item() if step == 1 else 0.98 * running + 0.02 * loss.item()
        if elapsed >= next_report:
            report(model, held, elapsed, step, running, options.batch)
            next_report += REPORT_EVERY
    report(model, held, budget, step, running, options.batch)


@torch.no_grad()
def report(
    model: GPT2LMHeadModel, held: np.ndarray, elapsed: float, step: int, running: float, batch: int
) -> None:
    """One line."""
    model.train(False)
    found = float(np.mean([loss_of(model, part).item() for part in np.array_split(held, 4)]))
    print(
        f"{elapsed / 60:5.1f} min  step {step:5d}  {step * batch * CONTEXT / 1e6:5.2f} M tokens  "
        f"train {running:.4f}  held-out dialogues {found:.4f} (perplexity {math.exp(found):.2f})",
        flush=True,
    )


def save(model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Weights in float16, which halves the repository's share; loading makes them float32."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("resid_pdrop", "embd_pdrop", "attn_pdrop"):  # DPO is to train what was sampled
        setattr(model.config, name, 0.0)
    model.half().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    for file in folder.iterdir():
        file.chmod(0o644)


def show(
    model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerFast, dialogues: list[Dialogue]
) -> None:
    """A reply to each of some held-out prompts, sampled at temperature 1."""
    for one in dialogues:
        ids = tokenizer.apply_chat_template(
            list(one.prompt), add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        drawn = model.generate(**ids, do_sample=True, top_k=0, max_new_tokens=40)
        reply = tokenizer.decode(drawn[0, ids["input_ids"].shape[1] :], skip_special_tokens=True)
        print(f"user: {one.prompt[-1]['content']!r}\n  assistant: {reply!r}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--base", type=Path, default=BASE)
    parser.add_argument("--out", type=Path, default=None, help="nothing is written without it")
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--batch", type=int, default=16, help=f"windows of {CONTEXT} tokens a step")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(options.seed)
    print(f"python {platform.python_version()}, torch {torch.__version__}, {platform.machine()},")
    print(f"transformers {transformers.__version__}; command: {' '.join(sys.argv)}")
    kept_out = set_aside()
    dialogues = [one for one in read_dialogues(options.data) if one.key not in kept_out]
    dialogues = list({one.key: one for one in dialogues}.values())
    cut = round(HELD_OUT * len(dialogues))
    order = np.random.default_rng(options.seed).permutation(len(dialogues))
    held, kept = ([dialogues[i] for i in part] for part in (order[:cut], order[cut:]))
    model, tokenizer = read_base(options.base)
    talk = Stream.of(tokenizer, list(transcripts(kept)))
    held_talk = Stream.of(tokenizer, list(transcripts(held)))
    windows = held_talk.windows(np.random.default_rng(1), 96, 0.6)
    print(
        f"{len(kept)} dialogues, {len(talk.tokens) / 1e6:.2f} M tokens; {cut} dialogues held out; "
        f"{model.num_parameters()} parameters",
        flush=True,
    )
    train(model, talk, windows, options)
    short = [d for d in held if len(d.key) <= 300 and not d.mentions(SENSITIVE)]
    show(model.train(False), tokenizer, short[:8])
    if options.out is not None:
        save(model, tokenizer, options.out)


if __name__ == "__main__":
    main()
