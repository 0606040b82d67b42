"""What the design bench measures, each a function from sizes to figures
(`whichpairs.bench.engine.run`)."""

import resource
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from whichpairs.bench.methods.greedy import GreedyRun
from whichpairs.bench.pools.streamed import make_pool
from whichpairs.design import (
    DOptimal,
    FrankWolfe,
    PairSpace,
    PairWeights,
    PassReport,
    Problem,
    Solution,
    gap_criterion,
    policy_information,
    solve,
)
from whichpairs.design.batches.candidates import Candidates
from whichpairs.design.problem.information import random_second_moment
from whichpairs.design.solver.exchange import exchange
from whichpairs.design.sweep.kernel import Kernel
from whichpairs.design.sweep.sweep import Known, Sweep
from whichpairs.engine.kernels.choose import KERNELS
from whichpairs.errors import UserError

RIDGE = 1e-6
"""H₀ in units of the mean information of n random pairs: a heavy ridge would certify anything."""

GREEDY_RIDGE = 1e-2
"""The same for greedy rivals: with less, their float32 gains begin so large that nothing is left of
them after the first picks, and they must score in float64."""

Greedy = Callable[..., GreedyRun]


def kernels() -> list[Kernel]:
    """Those that are there, the fastest first."""
    found: list[Kernel] = []
    for make in reversed(KERNELS.values()):
        with suppress(UserError):
            found.append(make())
    return found


def gemm_peak(kernel: Kernel, threads: int, size: int = 4096, tries: int = 5) -> float:
    """float32 operations a second of the kernel's library at a large square product, the best of a
    few. The kernel in C has none of its own: it is measured against torch's, where that is
    installed."""
    if kernel.name != "numpy" and find_spec("torch"):
        return _torch_peak("float32", threads, size, tries)
    a = np.random.default_rng(0).standard_normal((size, size), dtype=np.float32)
    with threadpool_limits(threads):
        return 2.0 * size**3 / min(_timed(lambda: a @ a) for _ in range(tries))


def bf16_peak(kernel: Kernel, threads: int, size: int = 4096, tries: int = 5) -> float | None:
    """The same of torch in bf16, for a kernel that computes in it."""
    if not kernel.name.endswith("bf16") or not find_spec("torch"):
        return None
    return _torch_peak("bfloat16", threads, size, tries)


def _torch_peak(kind: str, threads: int, size: int, tries: int) -> float:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    x = torch.randn((size, size), generator=torch.Generator().manual_seed(0))
    x = x.to(getattr(torch, kind))
    best = min(_timed(lambda: x @ x) for _ in range(tries))
    torch.set_num_threads(before)
    return 2.0 * size**3 / best


def _timed(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def problem_of(
    space: PairSpace, budget: int, *, d_optimal: bool = False, ridge: float = RIDGE
) -> Problem:
    """The gap (or D-optimal) problem with weights at θ = 0, β = 1."""
    some = space.some_prompts(4096, 0)
    mean = float(np.trace(random_second_moment(some))) / 4 / space.dim
    base = ridge * budget * mean * np.eye(space.dim)
    criterion = DOptimal() if d_optimal else gap_criterion(policy_information(some))
    return Problem(space, criterion, PairWeights(1.0), base, budget)


@dataclass(frozen=True)
class PassSpeed:
    """One pass over all prompts with the floor that a solve has, conversion and keeping included.

    Attributes:
        share: of the library's float32 GEMM peak, counting P (2 m d² + 2 m² d) operations.
        bf16_peak_gflops: the library's in bf16, where the kernel computes in it.
    """

    kernel: str
    dim: int
    size: int
    pairs: int
    seconds: float
    pairs_per_second: float
    peak_gflops: float
    share: float
    bf16_peak_gflops: float | None


def pass_speed(
    space: PairSpace, kernel: Kernel, threads: int, keep: int, tries: int = 15
) -> PassSpeed:
    """Of passes over `space`, the median of a few; the peak is measured before and after."""
    d, m, prompts = space.dim, int(space.sizes[0]), len(space.sizes)
    factor = np.linalg.cholesky(np.linalg.inv(random_second_moment(space.some_prompts(4096, 0))))
    sweep = Sweep(space, PairWeights(1.0), kernel=kernel, threads=threads)
    peak = gemm_peak(kernel, threads)
    with threadpool_limits(1):
        first = sweep(factor, np.array([keep]), np.zeros(1))
        floor = np.array([first.ceiling])
        known = Known(np.full(prompts, np.inf, np.float32), first.known.longest)
        times = [
            _timed(lambda: sweep(factor, np.array([keep]), floor, known)) for _ in range(tries)
        ]
    seconds = float(np.median(times))
    peak = max(peak, gemm_peak(kernel, threads))
    share = prompts * (2 * m * d * d + 2 * m * m * d) / seconds / peak
    pairs = space.candidates
    half = bf16_peak(kernel, threads)
    half = half / 1e9 if half else None
    return PassSpeed(kernel.name, d, m, pairs, seconds, pairs / seconds, peak / 1e9, share, half)


def whole_solve(
    space: PairSpace, budget: int, tolerance: float, kernel: Kernel, threads: int, *, full: bool
) -> dict[str, Any]:
    """A solve to `tolerance`: seconds, passes, certificate, memory.

    Args:
        full: Ī from all prompts (timed too), else from 4 096 of them.
    """
    method = FrankWolfe(tolerance=tolerance, threads=threads, kernel=kernel)
    with Memory() as memory:
        begun = time.perf_counter()
        problem = problem_of(space, budget)
        if full:
            with threadpool_limits(1):
                whole = gap_criterion(policy_information(space, threads=threads))
            problem = replace(problem, criterion=whole)
        policy = time.perf_counter() - begun
        begun = time.perf_counter()
        solution = solve(problem, method)
        seconds = time.perf_counter() - begun
    return {
        "pairs": space.candidates,
        "dim": space.dim,
        "budget": budget,
        "kernel": kernel.name,
        "tolerance": tolerance,
        "policy_information_seconds": policy,
        "solve_seconds": seconds,
        "anonymous_peak_gib": memory.peak / 2**20,
        **standing(solution),
    }


def standing(solution: Solution) -> dict[str, Any]:
    """Certificate, integrality and the passes of a solve."""
    return {
        "certificate": solution.certificate,
        "value": solution.value,
        "bound": solution.bound,
        "relaxed_certificate": solution.relaxed / solution.bound - 1.0,
        "passes": len(solution.reports),
        "passes_to_1_percent": _passes_to(solution.reports, 0.01),
        "passes_to_0.1_percent": _passes_to(solution.reports, 0.001),
        "prompts_read": [report.read for report in solution.reports],
    }


def _passes_to(reports: tuple[PassReport, ...], share: float) -> int | None:
    """The first pass after which the batch was certified to `share`."""
    for report in reports:
        if report.certificate is not None and report.certificate <= share:
            return report.number
    return None


class Memory(AbstractContextManager["Memory"]):
    """The largest anonymous resident memory while it is open (memory-mapped files are page cache),
    in KiB, looked at 20 times a second."""

    def __init__(self) -> None:
        self.peak = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "Memory":
        self._thread.start()
        return self

    def __exit__(self, *problem: object) -> None:
        self._over.set()
        self._thread.join()
        self._look()

    def _watch(self) -> None:
        while not self._over.wait(0.05):
            self._look()

    def _look(self) -> None:
        status = Path("/proc/self/status")
        if not status.exists():
            self.peak = max(self.peak, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
            return
        for line in status.read_text().splitlines():
            if line.startswith("RssAnon"):
                self.peak = max(self.peak, int(line.split()[1]))


def rounding(kind: str, times: int, restarts: int, dim: int = 64) -> dict[str, Any]:
    """How near a batch of times·d labels of 2.4 million pairs comes to its bound.

    Args:
        restarts: exchange from so many random starts among the candidates, to compare with (0:
            none).
    """
    space, budget = make_pool(None, kind, 20_000, 16, dim), times * dim
    problem = problem_of(space, budget)
    begun = time.perf_counter()
    solution = solve(problem, FrankWolfe(threads=2))
    found = {
        "kind": kind,
        "labels_a_dimension": times,
        "seconds": time.perf_counter() - begun,
        **standing(solution),
    }
    if restarts:
        best = min(_restart(problem, solution, seed) for seed in range(restarts))
        found |= {
            "restarts": restarts,
            "best_restart": best,
            "over_restarts": solution.value / best - 1,
        }
    return found


def _restart(problem: Problem, solution: Solution, seed: int) -> float:
    """Exchange to the end from a random batch of the best candidates at the design found."""
    space, n = problem.space, int(problem.budget)
    m = problem.base + _information(problem, solution)
    factor = problem.criterion.score_factor(m)
    sweep = Sweep(space, problem.weights)
    keep = np.array([2 * n + 16 * space.dim])
    best = sweep(factor, keep, np.zeros(1))
    keys = np.union1d(space.keys(best.pairs), space.keys(solution.pairs))
    candidates = Candidates.of(space, problem.weights, problem.limits, keys)
    counts = np.zeros(len(keys), np.int64)
    counts[np.random.default_rng(seed).choice(len(keys), n, replace=False)] = 1
    with threadpool_limits(1):
        end = exchange(
            candidates,
            counts,
            problem.base,
            problem.criterion,
            problem.budget,
            problem.limits,
            swaps=20_000,
            goal=-np.inf,
        )
    total = problem.base + candidates.information(end.astype(np.float64))
    return problem.criterion.value(total)


def _information(problem: Problem, solution: Solution) -> np.ndarray:
    space = problem.space
    z = space.differences(solution.pairs)
    return np.asarray(z.T @ (z * problem.weights(z)[:, None]))


def against_greedy(
    space: PairSpace,
    budget: int,
    rival: Greedy,
    deadline: float,
    kernel: Kernel,
    threads: int,
    passes: int = 15,
) -> dict[str, Any]:
    """A greedy rival and our D-optimal batch (asked for 0.1 %) on the same pool, one after the
    other."""
    problem = problem_of(space, budget, d_optimal=True, ridge=GREEDY_RIDGE)
    run = rival(space, problem.base, 0.25, budget, threads=threads, deadline_s=deadline)
    greedy_seconds = run.seconds_start + run.seconds_picks
    begun = time.perf_counter()
    method = FrankWolfe(passes=passes, tolerance=1e-3, threads=threads, kernel=kernel)
    solution = solve(problem, method)
    seconds = time.perf_counter() - begun
    found = {
        "rival": rival.__name__,
        "pairs": space.candidates,
        "budget": budget,
        "finished": run.finished,
        "picks": len(run.pairs),
        "rival_seconds": greedy_seconds,
        "rival_value": run.value,
        "ours_seconds": seconds,
        "ours_value": solution.value,
        "ours_certificate": solution.certificate,
        "evaluations": run.evaluations,
    }
    if run.finished:
        found["times_faster"] = greedy_seconds / seconds
    return found
