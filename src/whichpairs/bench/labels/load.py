"""Fifty annotators at once on a server that is killed (−9) again and again, and how fast it is with
100 000 pairs.

Annotators are threads that speak HTTP as the page does: an answer has a key of its own and is sent
again until it is acknowledged. Some of them leave for good with pairs in hand.
"""

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from whichpairs.bench.labels.site import Served, picked_run, start
from whichpairs.label.stores.place import open_store

PEOPLE = 50
LEASE_MINUTES = 0.1
LEAVERS = 5
"""Annotators who leave with pairs in hand; theirs come back after `LEASE_MINUTES`."""


class Browser:
    """One annotator's, without a screen.

    Attributes:
        acknowledged: keys of the replies that the server said to have kept, and how.
    """

    def __init__(self, link: str, seed: int) -> None:
        parts = urlsplit(link)
        self._at = (str(parts.hostname), int(parts.port or 80))
        self._join, self._seed = parts.path, seed
        self._headers: dict[str, str] = {}
        self._line: HTTPConnection | None = None
        self.acknowledged: dict[str, str] = {}

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
        """One request on a line that is kept; OSError or HTTPException where nobody answers."""
        if self._line is None:
            self._line = HTTPConnection(*self._at, timeout=60)
        try:
            sent = None if body is None else json.dumps(body)
            self._line.request(method, path, sent, self._headers)
            response = self._line.getresponse()
            found = response.read()
        except (OSError, HTTPException):
            self._line = None
            raise
        for name, value in response.getheaders():
            if name == "set-cookie":
                self._headers["cookie"] = value.partition(";")[0]
        return response.status, found

    def enter(self) -> None:
        """Follow the invitation; read the page's own token."""
        self.ask("GET", self._join)
        status, found = self.ask("GET", "/")
        page = (self.ask("GET", "/owner")[1] if status == 303 else found).decode()
        token = page.partition('name="csrf" content="')[2].partition('"')[0]
        if not token:
            raise HTTPException("the invitation was not taken")
        self._headers["x-csrf"] = token

    def wears(self, other: "Browser", csrf: bool = True) -> None:
        """Take another's cookie, and its page's token unless it is a page elsewhere that sends."""
        taken = ("cookie", "x-csrf") if csrf else ("cookie",)
        self._headers = {name: other._headers[name] for name in taken if name in other._headers}

    def work(self, stop: Callable[[], bool]) -> None:
        """Answer until there is nothing left, or `stop`."""
        rng, waiting = random.Random(self._seed), None
        while not stop():
            try:
                if "x-csrf" not in self._headers:
                    self.enter()
                if waiting is None:
                    status, found = self.ask("GET", "/api/next")
                    if status != 200:
                        raise HTTPException(f"status {status}")
                    waiting = json.loads(found).get("pairs")
                    if waiting == []:
                        if json.loads(found)["left"] == 0:
                            return
                        time.sleep(0.2)
                        waiting = None
                    continue
                handle = waiting[0]["handle"]
                body = {"handle": handle, "key": handle, "choice": rng.choice("ab"), "took": 1.0}
                status, found = self.ask("POST", "/api/answer", body)
                if status != 200:
                    time.sleep(0.05)
                    continue
                said = json.loads(found)
                self.acknowledged[handle] = said["kept"]
                waiting = said.get("pairs") or None
            except (OSError, HTTPException):
                time.sleep(0.3)


@dataclass
class Load:
    """What became of the answers on one back-end.

    Attributes:
        answers: acknowledged; lost: of those, how many the store lacks; double: pairs with more
            labels than they want; leases_lost: pairs that nobody could answer at the end; seconds:
            in all.
    """

    back: str
    answers: int
    kills: int
    lost: int
    double: int
    leases_lost: int
    seconds: float
    late: int = 0
    notes: list[str] = field(default_factory=list)


def under_kills(folder: Path, back: str, pairs: int, kills: int, store: str | None = None) -> Load:
    """All pairs answered by `PEOPLE` while the server is killed `kills` times."""
    sides = [(f"first {k}", f"second {k}") for k in range(pairs)]
    run = picked_run(folder, [f"Question {k}?" for k in range(pairs)], sides)
    names = [f"p{k:02d}" for k in range(PEOPLE)]
    options = [w for name in names for w in ("--person", name)]
    options += ["--lease-minutes", str(LEASE_MINUTES)]
    began = time.perf_counter()
    server = start(run, *options, *(["--store", store] if store else []))
    port = server.base.rpartition(":")[2]
    browsers = [Browser(server.people[name], k) for k, name in enumerate(names)]
    gone, over = threading.Event(), threading.Event()
    threads = [
        threading.Thread(
            target=one.work, args=(gone.is_set if k < LEAVERS else over.is_set,), daemon=True
        )
        for k, one in enumerate(browsers)
    ]
    for thread in threads:
        thread.start()
    done = 0
    try:
        for kill in range(kills):
            goal = (kill + 1) * pairs // (kills + 2)
            _until(lambda goal=goal: sum(len(one.acknowledged) for one in browsers) >= goal)  # type: ignore[misc]
            server.kill()
            done += 1
            if kill == kills // 2:
                gone.set()
            server = start(run, "--port", port, "--lease-minutes", str(LEASE_MINUTES))
        for thread in threads:
            thread.join(300)
    finally:
        gone.set()
        over.set()
        server.kill()
    return _counted(run, back, pairs, browsers, done, time.perf_counter() - began)


def _until(reached: Callable[[], bool], seconds: float = 300.0) -> None:
    end = time.monotonic() + seconds
    while not reached() and time.monotonic() < end:
        time.sleep(0.02)


def _counted(
    run: Path, back: str, pairs: int, browsers: list[Browser], kills: int, seconds: float
) -> Load:
    store = open_store(run)
    rows, labels = store.answers(), store.all()
    kept = {(row.annotator, row.key) for row in rows}
    said = {(f"p{k:02d}", key) for k, one in enumerate(browsers) for key in one.acknowledged}
    by_pair = Counter(label.pair_id for label in labels)
    late = sum(row.late for row in rows)
    double = sum(count > 1 for count in by_pair.values()) + len(rows) - len(kept)
    lost, never = len(said - kept), pairs - len(by_pair)
    store.close()
    return Load(back, len(said), kills, lost, double, never, seconds, late)


@dataclass(frozen=True)
class Speed:
    """Times in seconds.

    Attributes:
        answers: until the server says that an answer is on disk, and what follows it; empty: until
            it sends its empty page; screen: in a browser, from a key to the next pair painted;
            fetched: there, until an empty page has come.
    """

    answers: list[float] = field(default_factory=list)
    empty: list[float] = field(default_factory=list)
    screen: list[float] = field(default_factory=list)
    fetched: list[float] = field(default_factory=list)


def speed(
    folder: Path, pairs: int, seconds: float, pause: float, watch: Callable[[str, float], Speed]
) -> list[Speed]:
    """Fifty annotators, each an answer or an empty page every `pause` seconds, and one in a
    browser.

    Args:
        watch: what the one in the browser sees, by the link and for how long.
    """
    sides = [(f"first {k} " + "text " * 20, f"second {k} " + "text " * 20) for k in range(pairs)]
    run = picked_run(folder, [f"Question {k}?" for k in range(pairs)], sides)
    names = [f"p{k:02d}" for k in range(PEOPLE + 1)]
    server: Served = start(run, *[w for name in names for w in ("--person", name)])
    try:
        browsers = [Browser(server.people[name], k) for k, name in enumerate(names[:PEOPLE])]
        for one in browsers:
            one.enter()
        found = [Speed() for _ in browsers]
        end = time.monotonic() + seconds
        threads = [
            threading.Thread(target=_timed, args=(one, times, end, pause, k))
            for k, (one, times) in enumerate(zip(browsers, found, strict=True))
        ]
        for thread in threads:
            thread.start()
        found.append(watch(server.people[names[-1]], seconds))
        for thread in threads:
            thread.join()
    finally:
        server.kill()
    return found


def _timed(one: Browser, times: Speed, end: float, pause: float, seed: int) -> None:
    rng = random.Random(seed)
    waiting = json.loads(one.ask("GET", "/api/next")[1])["pairs"]
    while time.monotonic() < end:
        time.sleep(rng.expovariate(1.0 / pause))
        if rng.random() < 0.5:
            began = time.perf_counter()
            one.ask("GET", "/alive")
            times.empty.append(time.perf_counter() - began)
            continue
        handle = waiting[0]["handle"]
        body = {"handle": handle, "key": handle, "choice": "a", "took": 1.0}
        began = time.perf_counter()
        status, found = one.ask("POST", "/api/answer", body)
        times.answers.append(time.perf_counter() - began)
        assert status == 200, found
        waiting = json.loads(found)["pairs"]
