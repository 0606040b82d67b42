"""The design engine's figures: `make bench-design`, or `python -m whichpairs.bench.engine.run`.

    passes     P6: a pass's speed against the machine's GEMM peak, by kernel
    billion    P5, P6b: 10⁹ pairs, d = 64, float16 on disk, 100 000 labels
    wide       P5b: 10⁷ pairs, d = 1 024, 100 000 labels
    rounding   how near batches come to their bound at n = 64 d, 8 d, 2 d
    greedy     P7: against Guo et al.'s greedy, at sizes that take it about six minutes and two
    growth     seconds against candidate pairs, 10⁴ to 10⁹, ours and the greedy rivals

Each part runs in a process of its own and leaves its figures in the work folder, so that a call
that was cut off goes on; a part whose code is another now is measured again, and `--fresh` measures
all.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from whichpairs.bench.engine.measure import (
    against_greedy,
    kernels,
    pass_speed,
    rounding,
    whole_solve,
)
from whichpairs.bench.engine.page import figures, page, picture
from whichpairs.bench.fingerprint import short
from whichpairs.bench.machine import machine
from whichpairs.bench.markdown import About, write_page
from whichpairs.bench.methods.greedy import accelerated_greedy, lazy_greedy, naive_greedy
from whichpairs.bench.pools.streamed import KINDS, make_pool
from whichpairs.run.files import write_whole
from whichpairs.run.folder import versions

MEASURES = ("whichpairs.bench.engine.measure", "whichpairs.bench.pools.streamed")
"""Where the measuring of this page begins."""

THREADS = 2
MINUTE = 60.0


def passes(folder: Path, quick: bool) -> Any:
    """P6, d = 64 and 256, m = 16 and 32."""
    found = []
    for dim, size, prompts in (
        (64, 16, 200_000),
        (64, 32, 100_000),
        (256, 16, 40_000),
        (256, 32, 20_000),
    ):
        space = make_pool(None, "isotropic", prompts // (10 if quick else 1), size, dim)
        found += [asdict(pass_speed(space, kernel, THREADS, 20_000)) for kernel in kernels()]
    return found


def billion(folder: Path, quick: bool) -> Any:
    """P5 and P6b: a whole solve, with Ī from all prompts, and one full pass of the same pool."""
    prompts, budget = (20_000, 1_000) if quick else (2_016_130, 100_000)
    space = make_pool(folder / "features.npy", "isotropic", prompts, 32, 64)
    kernel = kernels()[0]
    found: dict[str, Any] = whole_solve(space, budget, 1e-2, kernel, THREADS, full=True)
    found["pass"] = asdict(pass_speed(space, kernel, THREADS, 2 * budget, tries=3))
    found["solve_over_pass"] = found["solve_seconds"] / found["pass"]["seconds"]
    found["closer"] = whole_solve(space, budget, 1e-3, kernel, THREADS, full=False)
    return found


def wide(folder: Path, quick: bool) -> Any:
    """P5b."""
    prompts, dim = (4_000, 256) if quick else (83_334, 1024)
    space = make_pool(folder / "features.npy", "steep", prompts, 16, dim)
    budget = 8_000 if quick else 100_000
    return whole_solve(space, budget, 1e-2, kernels()[0], THREADS, full=True)


def rounded(folder: Path, quick: bool) -> Any:
    """Batches against their bound; exchange restarts where n is only twice d."""
    found = []
    for kind in KINDS:
        for times in (64, 8, 2):
            restarts = (2 if quick else 20) if times == 2 else 0
            found.append(rounding(kind, times, restarts))
    return found


def greedy(folder: Path, quick: bool) -> Any:
    """P7: 1 000 picks at a size that takes the rival about six minutes here, 10 000 at one that
    takes two."""
    plan = [(60, 100), (20, 300)] if quick else [(450_000, 1_000), (15_000, 10_000)]
    deadline = MINUTE if quick else 11 * MINUTE
    found = []
    for prompts, budget in plan:
        space = make_pool(None, "isotropic", prompts, 32, 64)
        kernel = kernels()[0]
        one = against_greedy(space, budget, accelerated_greedy, deadline, kernel, THREADS, passes=1)
        one["pass"] = asdict(pass_speed(space, kernel, THREADS, 2 * budget, tries=3))
        one["rscript"] = shutil.which("Rscript") is not None
        found.append(one)
    return found


def growth(folder: Path, quick: bool) -> Any:
    """Seconds for 1 000 labels against candidate pairs; rivals until a size takes them five
    seconds."""
    sizes = [10**k for k in range(4, 7 if quick else 10)]
    budget, found = 1_000, []
    rivals = {rival.__name__: rival for rival in (naive_greedy, accelerated_greedy, lazy_greedy)}
    for pairs in sizes:
        prompts = -(-pairs // 496)
        path = folder / "features.npy" if pairs >= 10**8 else None
        space = make_pool(path, "isotropic", prompts, 32, 64)
        for kernel in (kernels()[0], kernels()[-1])[: 2 if pairs < 10**9 else 1]:
            solved = whole_solve(space, budget, 1e-2, kernel, THREADS, full=False)
            found.append({"method": f"whichpairs, {kernel.name}", **solved})
        for name in list(rivals):
            one = against_greedy(space, budget, rivals[name], MINUTE, kernels()[0], THREADS)
            found.append({"method": name, **one})
            if not one["finished"] or one["rival_seconds"] > MINUTE / 12:
                del rivals[name]
    return found


PARTS: dict[str, Callable[[Path, bool], Any]] = {
    "passes": passes,
    "billion": billion,
    "wide": wide,
    "rounding": rounded,
    "greedy": greedy,
    "growth": growth,
}


def main() -> None:
    """Measure what is missing, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("build/design"))
    parser.add_argument("--quick", action="store_true", help="small sizes, two minutes")
    parser.add_argument("--fresh", action="store_true", help="measure all parts anew")
    parser.add_argument("--part", choices=sorted(PARTS), help="only this part, in this process")
    settings = parser.parse_args()
    work = settings.work / ("quick" if settings.quick else "full")
    work.mkdir(parents=True, exist_ok=True)
    if settings.part:
        _measure(settings.part, work, settings.quick)
        return
    for name in PARTS:
        if settings.fresh or not _is_new(work / f"{name}.json"):
            print(f"{name} …", flush=True)
            command = [sys.executable, "-m", __spec__.name, *sys.argv[1:], "--part", name]
            subprocess.run(command, check=True)
    _write(work, settings.results, settings.quick)


def _is_new(path: Path) -> bool:
    """Whether a part was measured, and with the code as it is."""
    if not path.exists():
        return False
    return bool(json.loads(path.read_text(encoding="utf-8")).get("code") == short(MEASURES))


def _measure(name: str, work: Path, quick: bool) -> None:
    """One part, in a process of its own, so that memory is its own."""
    begun = time.perf_counter()
    folder = Path(tempfile.mkdtemp(dir=work))
    try:
        measured = PARTS[name](folder, quick)
    finally:
        shutil.rmtree(folder)
    found = {
        "figures": measured,
        "seconds": time.perf_counter() - begun,
        "code": short(MEASURES),
        "machine": machine(),
        "versions": versions(),
    }
    write_whole(work / f"{name}.json", json.dumps(found, indent=1, sort_keys=True) + "\n")


def _write(work: Path, results: Path, quick: bool) -> None:
    parts = {name: work / f"{name}.json" for name in PARTS}
    found = {name: json.loads(path.read_text()) for name, path in parts.items() if path.exists()}
    text = page(found, quick)
    parts_ = {name: part["figures"] for name, part in found.items()}
    pictures = {"design.png": picture(parts_["growth"])} if "growth" in parts_ else {}
    about = About("make bench-design", MEASURES)
    write_page(results, "design", about, figures(parts_), {"parts": found}, text, pictures)
    print(text)


if __name__ == "__main__":
    main()
