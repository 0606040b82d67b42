"""Train the small language model of the IMDb recipe from nothing, on a CPU, in half an hour.

The recipe needs a policy whose completions are recognisably film reviews and differ in sentiment, and which is
small enough to live in the repository and to run thousands of times in continuous integration. No public model is
both, so this script makes one: a byte-level BPE tokenizer of 2048 tokens and a GPT-2 of about 1.07 M parameters.

    .venv/bin/python recipes/imdb/train_lm.py --data imdb.parquet --out recipes/imdb/model --minutes 30

Each core runs one single-threaded worker on its share of the batch and the gradients are averaged: on two cores this
was half as fast again as two threads in one process, and a busy neighbour slows it less.

The learning-rate schedule follows the elapsed share of ``--minutes``, so the budget is kept on any machine; the
price is that two runs with one seed see the same batches but not, to the last digit, the same learning rates.
"""

from __future__ import annotations

import argparse
import ctypes
import math
import os
import platform
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import transformers
from numpy.typing import NDArray
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

DATA = Path(__file__).parents[3] / "shared" / "data" / "imdb.parquet"
EOS = "<|endoftext|>"
CONTEXT = 128
OPENING = 36  # a prompt of up to 12 tokens and a completion of 24: the part of a review the recipe samples
HELD_OUT = 0.02


@dataclass(frozen=True)
class Corpus:
    """What every worker needs: the training stream and the fixed windows that are evaluated."""

    stream: NDArray[np.int32]
    starts: NDArray[np.int64]
    held_out: torch.Tensor  # windows anywhere in held-out reviews
    openings: torch.Tensor  # windows that begin a held-out review


def read_reviews(path: Path) -> list[str]:
    """The reviews of both splits, HTML line breaks replaced by a space and runs of white space by one."""
    frame = pl.read_parquet(path, columns=["text"])
    clean = (
        pl.col("text")
        .str.replace_all(r"<br\s*/?>", " ")
        .str.replace_all(r"\s+", " ")
        .str.strip_chars()
    )
    return frame.select(clean)["text"].to_list()


def train_tokenizer(texts: list[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer of exactly `vocabulary` tokens, one of them the end-of-text token."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[EOS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token=EOS,
        eos_token=EOS,
        pad_token=EOS,
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
    )


def encode(
    texts: list[str], tokenizer: PreTrainedTokenizerFast
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """All reviews as one stream, an EOS before each and one at the end, and the position of each review's EOS."""
    eos = tokenizer.eos_token_id
    pieces: list[NDArray[np.int32]] = []
    for start in range(0, len(texts), 2000):
        for item in tokenizer.backend_tokenizer.encode_batch_fast(texts[start : start + 2000]):
            pieces.append(np.array([eos, *item.ids], dtype=np.int32))
    starts = np.concatenate([[0], np.cumsum([len(piece) for piece in pieces[:-1]])])
    return np.concatenate([*pieces, np.array([eos], dtype=np.int32)]), starts.astype(np.int64)


def draw_batch(
    stream: NDArray[np.int32],
    starts: NDArray[np.int64],
    size: int,
    from_start: float,
    rng: np.random.Generator,
) -> torch.Tensor:
    """`size` windows of CONTEXT + 1 tokens; a share `from_start` begins at a review's EOS, as the prompts do."""
    last = len(stream) - CONTEXT - 1
    begins = rng.integers(0, last + 1, size)
    at_start = rng.random(size) < from_start
    begins = np.where(
        at_start, np.minimum(starts[rng.integers(0, len(starts), size)], last), begins
    )
    return torch.from_numpy(stream[begins[:, None] + np.arange(CONTEXT + 1)].astype(np.int64))


def token_losses(model: GPT2LMHeadModel, windows: torch.Tensor) -> torch.Tensor:
    """The cross-entropy of each predicted token, nats, shape (windows, CONTEXT)."""
    logits = model(input_ids=windows[:, :-1], use_cache=False).logits
    flat = torch.nn.functional.cross_entropy(
        logits.reshape(-1, logits.shape[-1]), windows[:, 1:].reshape(-1), reduction="none"
    )
    return flat.view(windows.shape[0], -1)


@torch.no_grad()
def evaluate(model: GPT2LMHeadModel, windows: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy at each position of the windows, nats a token, shape (CONTEXT,)."""
    model.eval()
    losses = torch.cat([token_losses(model, part) for part in windows.split(64)])
    model.train()
    return losses.mean(dim=0)


def save(model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write a checkpoint so that a reader at any moment finds each file whole."""
    folder.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=folder.parent))
    model.save_pretrained(partial)
    tokenizer.save_pretrained(partial)
    for file in sorted(partial.iterdir()):
        file.chmod(0o644)  # safetensors writes for its owner alone
        os.replace(file, folder / file.name)
    shutil.rmtree(partial)


def learning_rate(
    progress: float, peak: float, warm_up: float = 0.02, floor: float = 0.01
) -> float:
    """Linear warm-up over the first `warm_up` of the run, then a cosine down to `floor` times the peak."""
    if progress < warm_up:
        return peak * max(progress / warm_up, 1e-3)
    phase = min((progress - warm_up) / (1 - warm_up), 1.0)
    return peak * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * phase)))


def build_model(vocabulary: int, eos: int) -> GPT2LMHeadModel:
    """The untrained GPT-2: 4 layers of width 128, tied embeddings.

    Without dropout: a million parameters do not overfit in one pass over the data.
    """
    config = GPT2Config(
        vocab_size=vocabulary,
        n_positions=CONTEXT,
        n_embd=128,
        n_layer=4,
        n_head=4,
        activation_function="gelu_pytorch_tanh",  # GPT-2's own gelu_new, as one fused kernel
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        initializer_range=0.04,
        bos_token_id=eos,
        eos_token_id=eos,
        pad_token_id=eos,
        tie_word_embeddings=True,
    )
    return GPT2LMHeadModel(config).float()


def build_optimizer(model: GPT2LMHeadModel, peak: float) -> torch.optim.AdamW:
    """AdamW; weight decay on matrices, none on biases and norms."""
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    others = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=peak, betas=(0.9, 0.95), fused=True)


@torch.no_grad()
def samples(
    model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerFast, count: int, length: int
) -> list[str]:
    """`count` texts of at most `length` tokens drawn at temperature 1 from the EOS token alone."""
    model.eval()
    start = torch.full((count, 1), tokenizer.eos_token_id)
    drawn = model.generate(
        start,
        attention_mask=torch.ones_like(start),
        do_sample=True,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        max_new_tokens=length,
    )
    return tokenizer.batch_decode(drawn[:, 1:], skip_special_tokens=True)


def keep_freed_memory() -> None:
    """Ask glibc to reuse large blocks instead of returning them: page faults were a third of a step's time."""
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(-4, 0)  # M_MMAP_MAX
        libc.mallopt(-1, -1)  # M_TRIM_THRESHOLD


def average_gradients(model: GPT2LMHeadModel, extra: list[float]) -> list[float]:
    """Average the gradients, and the numbers in `extra`, over the workers; return the averaged numbers."""
    gradients = [p.grad for p in model.parameters()]
    flat = torch.cat([*(g.reshape(-1) for g in gradients), torch.tensor(extra)])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    pieces = flat.split([*(g.numel() for g in gradients), len(extra)])
    for gradient, piece in zip(gradients, pieces, strict=False):
        gradient.copy_(piece.view_as(gradient))
    return pieces[-1].tolist()


def train(
    model: GPT2LMHeadModel,
    tokenizer: PreTrainedTokenizerFast,
    corpus: Corpus,
    settings: argparse.Namespace,
) -> None:
    """One worker's training loop; all workers stop together once `settings.minutes` have passed on average."""
    rank, workers = dist.get_rank(), dist.get_world_size()
    rng = np.random.default_rng([settings.seed, rank])
    optimizer = build_optimizer(model, settings.lr)
    budget = settings.minutes * 60
    next_report, next_save = 60.0, settings.save_every * 60.0
    elapsed, step, running = 0.0, 0, float("nan")
    begin = time.perf_counter()
    model.train()

    def report(windows: int) -> None:
        everywhere = float(evaluate(model, corpus.held_out[:windows]).mean())
        opening = float(evaluate(model, corpus.openings[:windows])[:OPENING].mean())
        print(
            f"{elapsed / 60:5.1f} min  step {step:6d}  {step * settings.batch * CONTEXT / 1e6:6.2f} M tokens"
            f"  lr {optimizer.param_groups[0]['lr']:.2e}  train {running:.4f}  val {everywhere:.4f}"
            f" (perplexity {math.exp(everywhere):.2f})  first {OPENING} tokens {opening:.4f}"
            f" (perplexity {math.exp(opening):.2f})",
            flush=True,
        )

    while elapsed < budget:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(elapsed / budget, settings.lr)
        windows = draw_batch(
            corpus.stream, corpus.starts, settings.batch // workers, settings.from_start, rng
        )
        loss = token_losses(model, windows).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        elapsed, mean_loss = average_gradients(model, [time.perf_counter() - begin, loss.item()])
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        step += 1
        running = mean_loss if step == 1 else 0.99 * running + 0.01 * mean_loss
        if rank == 0 and elapsed > next_report:
            report(96)
            next_report += 60.0
        if rank == 0 and settings.out is not None and elapsed > next_save:
            save(model, tokenizer, settings.out)
            next_save += settings.save_every * 60.0
    if rank == 0:
        report(len(corpus.held_out))


def work(
    rank: int,
    tokenizer: PreTrainedTokenizerFast,
    corpus: Corpus,
    settings: argparse.Namespace,
    meeting: str,
) -> None:
    """One worker process: train with the others; the first one saves the model and prints samples."""
    keep_freed_memory()
    torch.set_num_threads(1)
    torch.manual_seed(settings.seed)
    dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=settings.workers)
    model = build_model(len(tokenizer), tokenizer.eos_token_id)
    train(model, tokenizer, corpus, settings)
    if rank == 0:
        if settings.out is not None:
            save(model, tokenizer, settings.out)
        for text in samples(model, tokenizer, 8, OPENING):
            print("sample:", text, flush=True)
    dist.destroy_process_group()


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument(
        "--out", type=Path, default=None, help="folder for the model; nothing is written without it"
    )
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--save-every", type=float, default=5.0, help="minutes between checkpoints")
    parser.add_argument("--lr", type=float, default=3e-3, help="peak learning rate")
    parser.add_argument(
        "--batch", type=int, default=16, help=f"sequences of {CONTEXT} tokens a step"
    )
    parser.add_argument(
        "--from-start", type=float, default=0.4, help="share of sequences that begin a review"
    )
    parser.add_argument("--vocabulary", type=int, default=2048)
    parser.add_argument(
        "--workers", type=int, default=2, help="processes of one thread; must divide --batch"
    )
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def main() -> None:
    settings = parse()
    print(
        f"python {platform.python_version()}, torch {torch.__version__}, transformers {transformers.__version__},"
        f" {platform.machine()}, {os.cpu_count()} cores, {settings.workers} workers"
    )
    print("command:", " ".join(sys.argv))

    begin = time.perf_counter()
    texts = read_reviews(settings.data)
    order = np.random.default_rng(settings.seed).permutation(len(texts))
    cut = round(HELD_OUT * len(texts))
    held, kept = [texts[i] for i in order[:cut]], [texts[i] for i in order[cut:]]
    tokenizer = train_tokenizer(kept, settings.vocabulary)
    stream, starts = encode(kept, tokenizer)
    held_stream, held_starts = encode(held, tokenizer)
    print(
        f"{len(kept)} reviews, {len(stream) / 1e6:.2f} M tokens to train on; {cut} reviews,"
        f" {len(held_stream) / 1e6:.3f} M tokens held out ({time.perf_counter() - begin:.0f} s)",
        flush=True,
    )

    rng = np.random.default_rng(settings.seed + 1)
    held_windows = draw_batch(held_stream, held_starts, 384, 0.0, rng)
    opening_windows = draw_batch(held_stream, held_starts, 384, 1.0, rng)
    corpus = Corpus(stream, starts, held_windows, opening_windows)
    parameters = build_model(len(tokenizer), tokenizer.eos_token_id).num_parameters()
    print(f"{parameters} parameters", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        meeting = f"file://{folder}/meeting"
        mp.spawn(work, (tokenizer, corpus, settings, meeting), nprocs=settings.workers)
    print(f"{(time.perf_counter() - begin) / 60:.1f} minutes in all")


if __name__ == "__main__":
    main()
