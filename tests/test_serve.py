"""The labelling page over HTTP: who is let in, what is handed out, and what becomes of an answer."""

import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from cli import fails
from whichpairs.bench.labels.site import picked_run
from whichpairs.label.agreement import alpha
from whichpairs.label.stores.serving import ServingStore
from whichpairs.label.stores.sqlite import SqliteStore
from whichpairs.label.web.app import NOT_YOURS, ROUTES, STATIC, application
from whichpairs.label.web.desk import Desk
from whichpairs.label.web.figures import person
from whichpairs.label.web.guard import MOST_BODY, Address, Pace
from whichpairs.label.web.keys import Keys, read_secret
from whichpairs.label.web.project import Project, Quiz, QuizPair, ServeSettings, Texts
from whichpairs.run.folder import open_run
from whichpairs.types import Label
from whichpairs.workflow.label.serve import Doors, open_project, picked, serve
from whichpairs.workflow.workspace import Workspace

ORIGIN = "http://127.0.0.1:8080"
PAIRS = 12


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    prompts: list[Any] = [f"Question {k}?" for k in range(PAIRS - 1)]
    chat = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Call it."},
        {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f"}}]},
        {"role": "tool", "content": "42"},
    ]
    sides = [(f"first {k}", f"second {k}") for k in range(PAIRS)]
    run = picked_run(tmp_path_factory.mktemp("serve"), [*prompts, chat], sides)
    return open_project(run, lambda space: None)


class Site:
    """A project served in this process, and people's browsers."""

    def __init__(self, folder: Path, project: Project, url: str = ORIGIN, **settings: Any) -> None:
        self.store = ServingStore(SqliteStore(folder / "labels.sqlite"))
        self.settings = ServeSettings(public_url=url, **settings)
        self.desk = Desk(self.store, project, self.settings)
        self.keys = Keys(read_secret(folder / "serve.json"), self.store)
        self.address = Address.of(url)
        self.app = application(self.desk, self.keys, self.address)
        self.web = self.app.state.web

    def client(self, origin: str | None = None) -> TestClient:
        return TestClient(self.app, base_url=origin or self.address.origin, follow_redirects=False)

    def person(self, name: str = "ann") -> TestClient:
        """An annotator's browser; the page's own token goes with all that it sends."""
        return self._in(self.keys.invite(name))

    def owner(self) -> TestClient:
        return self._in(self.keys.owner_token)

    def _in(self, token: str) -> TestClient:
        client = self.client()
        assert client.get(f"{self.address.root}/join/{token}").status_code == 303
        session = self.keys.session(client.cookies[self.keys.cookie])
        assert session is not None
        client.headers["x-csrf"] = session.csrf
        return client


@pytest.fixture
def site(tmp_path: Path, project: Project) -> Site:
    return Site(tmp_path, project)


def say(client: TestClient, handle: str, choice: str = "a", **more: Any) -> Any:
    body = {"handle": handle, "key": f"k-{handle}-{choice}", "choice": choice, "took": 3.5, **more}
    return client.post("/api/answer", json=body)


# Who may.


def requests() -> Iterator[tuple[str, str]]:
    """Every method at every path, those that do not exist too."""
    paths = [entry.path for entry in ROUTES] + ["/nothing", "/join/wrong", "/static/nothing"]
    for path in paths:
        filled = path.replace("{name}", "label.js").replace("{handle}", "x")
        for method in ("GET", "POST", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"):
            yield method, filled


def test_nobody_gets_in_without_a_token_of_this_run(site: Site, tmp_path: Path, project) -> None:
    """All routes and methods, by everybody who may not."""
    assert {r.path for r in site.app.routes} == {e.path for e in ROUTES} | {"/join/{token}"}
    other = tmp_path / "other"
    other.mkdir()
    strangers = {"none": site.client()}
    name = site.keys.cookie
    foreign = Site(other, project)
    for who, token in {
        "ann": foreign.keys.invite("ann"),
        "owner": foreign.keys.owner_token,
    }.items():
        strangers[f"other run's {who}"] = site.client()
        strangers[f"other run's {who}"].cookies.set(name, foreign.keys.join(token) or "")
    revoked = site.person("rev")
    assert revoked.get("/").status_code == 200
    loan = revoked.get("/api/next").json()["pairs"][0]["handle"]
    site.keys.revoke("rev")
    strangers["revoked"] = revoked
    whole = site.keys.join(site.keys.invite("ann")) or ""
    for what, cookie in {
        "cut": whole[:-1],
        "changed": whole[:5] + "x" + whole[6:],
        "long": "x" * 5000,
    }.items():
        strangers[what] = site.client()
        strangers[what].cookies.set(name, cookie)
    before = site.store.answers(), site.store.events()
    let_in = []
    for (who, client), (method, path) in itertools.product(strangers.items(), requests()):
        site.web.knocks._left.clear()
        response = client.request(method, path, content="{}")
        if response.status_code not in (401, 403) or (
            method != "HEAD" and NOT_YOURS not in response.text
        ):
            let_in.append((who, method, path, response.status_code))
    assert let_in == []
    assert say(revoked, loan).status_code == 401
    assert (site.store.answers(), site.store.events()) == before


def test_nobody_does_what_is_anothers(site: Site) -> None:
    """An annotator at the owner's routes, an owner at the annotators', and requests from other pages."""
    ann, bob, owner = site.person(), site.person("bob"), site.owner()
    handle = ann.get("/api/next").json()["pairs"][0]["handle"]
    before = site.store.answers(), site.store.events(), site.desk.paused
    for entry in ROUTES:
        path = entry.path.replace("{name}", "label.js").replace("{handle}", handle)
        wrong = {"owner": [ann], "annotator": [owner], "both": []}[entry.who]
        for client in wrong:
            assert client.request(entry.method, path, content="{}").status_code == 403, path
        if entry.method == "POST":
            right = owner if entry.who == "owner" else ann
            for headers in (
                {"x-csrf": ""},
                {"x-csrf": bob.headers["x-csrf"]},
                {"origin": "https://elsewhere.example"},
                {"origin": "http://127.0.0.1:9999"},
                {"origin": "null"},
                {"sec-fetch-site": "cross-site"},
                {"sec-fetch-site": "same-site"},
            ):
                response = right.post(path, content="{}", headers=headers)
                assert response.status_code == 403, (path, headers)
    assert say(bob, handle).status_code == 422
    assert bob.get(f"/api/rendered/{handle}").status_code == 422
    assert ann.get(f"/api/rendered/{handle}").status_code == 200
    assert (site.store.answers(), site.store.events(), site.desk.paused) == before
    assert say(ann, handle).status_code == 200


def test_an_invitation_is_a_link_that_can_be_taken_back(site: Site) -> None:
    token = site.keys.invite("ann")
    assert site.keys.invite("ann") == token  # as long as it stands, the same link
    client = site.client()
    assert client.get("/").status_code == 401
    response = client.get(f"/join/{token}")
    assert response.headers["location"] == "/"
    flags = response.headers["set-cookie"]
    assert "HttpOnly" in flags
    assert "SameSite=lax" in flags
    assert "Secure" not in flags  # on this machine, by http
    assert client.get("/").status_code == 200
    assert token not in json.dumps([e.data for e in site.store.events()])
    site.keys.revoke("ann")
    assert client.get("/").status_code == 401
    assert site.client().get(f"/join/{token}").status_code == 401
    again = site.keys.invite("ann")
    assert again != token
    assert client.get("/").status_code == 401  # the old cookie stays out
    assert site.client().get(f"/join/{again}").status_code == 303
    restarted = Keys(read_secret(Path(site.store.place).parent / "serve.json"), site.store)
    assert restarted.token("ann") == again


def test_the_secret_is_the_owners_alone(tmp_path: Path) -> None:
    made = read_secret(tmp_path / "serve.json")
    assert read_secret(tmp_path / "serve.json") == made
    assert (tmp_path / "serve.json").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("strip", [False, True])
def test_behind_a_proxys_prefix(tmp_path: Path, project: Project, strip: bool) -> None:
    site = Site(tmp_path, project, url="https://labels.example.org/team")
    client = site.client()
    prefix = "" if strip else "/team"
    response = client.get(f"{prefix}/join/{site.keys.invite('ann')}")
    assert response.headers["location"] == "/team/"
    flags = response.headers["set-cookie"]
    assert "Secure" in flags
    assert "Path=/team/" in flags
    client.cookies.clear()
    client.headers["cookie"] = flags.partition(";")[0]
    page = client.get(f"{prefix}/")
    assert page.status_code == 200
    for found in re.findall(r'(?:src|href)="([^"]+)"', page.text):
        assert found.startswith("/team/static/")
        assert client.get(found.removeprefix("/team") if strip else found).status_code == 200
    assert client.get(f"{prefix}/api/next").status_code == 200
    assert site.web.link("x") == "https://labels.example.org/team/join/x"


def test_other_names_long_bodies_and_hurry_are_refused(site: Site, monkeypatch) -> None:
    ann = site.person()
    assert site.client("http://elsewhere.example").get("/").status_code == 421
    assert ann.get("/", headers={"host": "elsewhere.example"}).status_code == 421
    assert ann.get("/", headers={"host": "localhost:8080"}).status_code == 200
    long = b"x" * (MOST_BODY + 1)
    assert ann.post("/api/answer", content=long).status_code == 413
    assert ann.post("/api/answer", content=iter([long[:40_000]] * 3)).status_code == 413
    assert ann.post("/api/answer", content=b"[" * 60_000).status_code == 422
    now = [0.0]
    pace = Pace(2.0, 3.0, lambda: now[0])
    assert [pace.allows("x") for _ in range(5)] == [True] * 3 + [False] * 2
    now[0] = 1.0
    assert [pace.allows("x") for _ in range(3)] == [True] * 2 + [False]
    assert pace.allows("y")
    site.web.pace.clock = site.web.knocks.clock = lambda: 1e6  # however slow this machine is
    statuses = [ann.get("/alive").status_code for _ in range(90)]
    assert 429 in statuses
    tries = [site.client().get("/join/wrong").status_code for _ in range(40)]
    assert tries[0] == 401
    assert tries[-1] == 429
    assert site.client().get(f"/join/{site.keys.invite('bob')}").status_code == 303  # who may, may


def test_every_response_forbids_what_a_completion_could_want(site: Site) -> None:
    for response in (site.client().get("/"), site.person().get("/"), site.owner().get("/owner")):
        policy = dict(
            part.strip().split(" ", 1)
            for part in response.headers["content-security-policy"].split(";")
        )
        assert policy["default-src"] == "'none'"
        assert policy["script-src"] == policy["connect-src"] == policy["form-action"] == "'self'"
        assert policy["require-trusted-types-for"] == "'script'"
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["referrer-policy"] == "no-referrer"
        assert not re.search(r"<script>|<style|style=|onclick", response.text)
        assert not re.search(r'(src|href)="(?:\w+:)?//', response.text)  # nothing from elsewhere
    for name in STATIC:
        assert site.person().get(f"/static/{name}").status_code == 200


# What is handed out, and what becomes of it.


def test_the_page_tells_neither_order_nor_control_nor_model(site: Site) -> None:
    found, firsts = site.person(), set[str]()
    while pairs := found.get("/api/next").json()["pairs"]:
        for pair in pairs:
            assert set(pair) == {"handle", "prompt", "a", "b"}
            assert {pair["a"].split()[1]} == {pair["b"].split()[1]}
            firsts.add(pair["a"].split()[0])
            say(found, pair["handle"])
            site.web.pace._left.clear()
    assert firsts == {"first", "second"}  # 2 in 4 096 draws are one-sided
    assert len(site.store.all()) == PAIRS


def test_a_conversation_is_shown_turn_by_turn(site: Site, project: Project) -> None:
    task = site.desk.project.tasks()[-1]
    assert project.texts(task.id_a, task.id_b) == Texts(
        (
            ("system", "Be brief."),
            ("user", "Call it."),
            ("assistant", '{"tool_calls": [{"function": {"name": "f"}}]}'),
            ("tool", "42"),
        ),
        f"first {PAIRS - 1}",
        f"second {PAIRS - 1}",
    )


def test_an_answer_reaches_the_fit_with_what_it_says(site: Site, project: Project) -> None:
    ann = site.person()
    first = ann.get("/api/next").json()
    assert (first["done"], first["left"], first["pace"]) == (0, PAIRS, None)
    handles = [pair["handle"] for pair in first["pairs"]]
    assert len(handles) == 3
    found = say(ann, handles[0], "b", comment="  why  ", have=2).json()
    assert found["kept"] == "new"
    assert (found["done"], found["left"]) == (1, PAIRS - 1)
    assert say(ann, handles[0], "b").json()["kept"] == "same"
    assert "answered once" in say(ann, handles[0], "a").json()["error"]
    assert say(ann, handles[0], "a", corrects=True).json()["kept"] == "corrected"
    assert say(ann, handles[1], "both_bad", ago=60).json()["kept"] == "new"
    assert say(ann, handles[2], "skip").json()["done"] == 3
    labels = site.store.all()
    assert [(x.choice, x.both_bad) for x in labels] == [("a", False), ("tie", True)]
    row = site.store.answers()[0]
    assert row.comment == "  why  "
    assert (row.shown or "") < (row.answered or "") <= row.created
    (run,) = (
        c.cell_contents for c in project.tasks.__closure__ if isinstance(c.cell_contents, Path)
    )  # type: ignore[union-attr]
    space = Workspace(open_run(run))
    space.labels = labels
    assert space.votes(held_out=False).wins.tolist() == [1.0, 0.5]


@pytest.mark.parametrize(
    "broken",
    [
        {"handle": 1},
        {"key": ""},
        {"choice": "c"},
        {"choice": ["a"]},
        {"strength": 9},
        {"strength": True},
        {"comment": "x" * 4001},
        {"took": -1},
        {"took": "1"},
        {"took": None},
        {"took": 1e300},
        {"ago": -5},
        {"corrects": 1},
        {"handle": "nobody's"},
    ],
)
def test_a_broken_answer_is_refused_in_one_line(site: Site, broken: dict[str, Any]) -> None:
    ann = site.person()
    handle = ann.get("/api/next").json()["pairs"][0]["handle"]
    body = {"handle": handle, "key": "k", "choice": "a", "took": 1.0, **broken}
    response = ann.post("/api/answer", json=body)
    assert response.status_code == 422
    said = response.json()["error"]
    assert "\n" not in said
    assert not re.search(r"Error|Traceback|<class|None", said)
    assert site.store.answers() == []
    for raw in (b"", b"[]", b"\xff", b'{"handle": NaN}', b"null"):
        assert ann.post("/api/answer", content=raw).status_code == 422


def quiz(*right: str) -> Quiz:
    texts = [Texts((("", f"Q{k}"),), "x", "y") for k in range(len(right))]
    return Quiz(tuple(QuizPair(t, r, "so") for t, r in zip(texts, right, strict=True)), 0.6, 2)


def test_the_quiz_comes_before_the_first_pair(tmp_path: Path, project: Project) -> None:
    site = Site(tmp_path, project, quiz=quiz("a", "b", "tie"))
    ann, bob = site.person(), site.person("bob")

    def ask(client: TestClient, *choices: str) -> list[bool]:
        found = []
        for choice in choices:
            state = client.get("/api/next").json()["quiz"]
            body = {"number": state["number"], "choice": choice}
            found.append(client.post("/api/quiz", json=body).json())
        assert all((x["why"], "answer" in x) == ("so", True) for x in found)
        return [x["right"] for x in found]

    state = ann.get("/api/next").json()
    assert set(state) == {"quiz"}
    assert {"number", "total", "needed", "tries", "prompt", "a", "b"} == set(
        state["quiz"]
    )  # no answer
    assert ask(ann, "a", "a", "tie") == [True, False, True]
    assert "pairs" in ann.get("/api/next").json()
    body = {"number": 0, "choice": "a"}
    assert ann.post("/api/quiz", json=body).status_code == 422  # it is over
    assert ask(bob, "b", "b") == [False, True]
    assert bob.post("/api/quiz", json=body).status_code == 422  # not that one
    assert ask(bob, "a", "a", "a", "a") == [False, True, False, False]
    assert bob.get("/api/next").json()["quiz"]["failed"]
    assert say(bob, "x").status_code == 422
    site.keys.revoke("bob")
    bob = site.person("bob")
    assert bob.get("/api/next").json()["quiz"]["number"] == 0
    owner = site.owner()
    owner.post("/api/owner/revoke", json={"name": "ann"})
    assert site.person().get("/api/next").json()["quiz"]["number"] == 0  # though it was passed


def test_the_owner_pauses_invites_and_sees(site: Site) -> None:
    ann, owner = site.person(), site.owner()
    link = owner.post("/api/owner/invite", json={"name": "bob"}).json()["link"]
    bob = site.client()
    assert bob.get(link.removeprefix(ORIGIN)).status_code == 303
    for bad in ("", " x", "a\nb", "judge:x", "x" * 61):
        assert owner.post("/api/owner/invite", json={"name": bad}).status_code == 422
    for choice in ("a", "b", "both_bad"):
        say(ann, ann.get("/api/next").json()["pairs"][0]["handle"], choice)
    assert owner.post("/api/owner/pause", json={"paused": True}).json() == {"paused": True}
    assert ann.get("/api/next").json()["paused"]
    assert "pairs" not in ann.get("/api/next").json()
    found = owner.get("/api/owner").json()
    assert (found["labels"], found["left"], found["paused"]) == (3, PAIRS - 3, True)
    assert [(p["name"], p["answers"], p["seconds"]) for p in found["people"]] == [
        ("ann", 3, 3.5),
        ("bob", 0, None),
    ]
    assert found["people"][1]["link"] == link
    owner.post("/api/owner/pause", json={"paused": False})
    assert ann.get("/api/next").json()["pairs"]
    assert owner.post("/api/owner/revoke", json={"name": "ann"}).json() == {"revoked": True}
    assert ann.get("/api/next").status_code == 401
    assert len(bob.get("/api/next").json()["pairs"]) == 3  # what ann had is there again
    assert owner.post("/api/owner/pick", json={}).status_code == 422  # no command is known
    assert owner.get("/").headers["location"] == "/owner"


def test_what_the_owner_is_told_of_a_person() -> None:
    from whichpairs.label.stores.base import Answer

    def answer(k: int, choice: Any, turn: int = 0, turned: bool = False) -> Answer:
        sides = ("y", "x") if turned else ("x", "y")
        said = (f"q{k}", "ann", turn, *sides, choice, None, None, None, "001")
        times = ("2026-01-01T00:00:00.000Z", f"2026-01-01T00:00:0{1 + k % 3}.000Z")
        return Answer(k + 10 * turn, None, *said, *times, "k", "h", False, "2026")

    rows = [answer(k, "a" if k < 8 else "b") for k in range(10)]
    rows += [answer(0, "b", 1, True), answer(1, "a", 1, True)]
    found = person("ann", rows, True)
    assert found["left"]["share"] == 0.8
    assert found["left"]["low"] == pytest.approx(0.4439, abs=1e-4)  # Clopper–Pearson, 8 of 10
    assert found["left"]["high"] == pytest.approx(0.9748, abs=1e-4)
    assert found["steady"] == {"same": 1, "of": 2}
    assert found["seconds"] == 2.0


def test_alpha_is_krippendorffs() -> None:
    """Against its definition over all pairs of answers; and 1 where everybody agrees."""
    said = [("a", "a"), ("a", "b", "a"), ("tie", "b"), ("b", "b", "b"), ("a",)] * 6
    labels = [
        Label(f"q{k}", "x", "y", choice, f"p{j}", "001")
        for k, answers in enumerate(said)
        for j, choice in enumerate(answers)
    ]
    units = [answers for answers in said if len(answers) > 1]
    values = [value for unit in units for value in unit]
    n = len(values)
    observed = sum(
        sum(a != b for a, b in itertools.permutations(unit, 2)) / (len(unit) - 1) for unit in units
    )
    expected = sum(a != b for a, b in itertools.permutations(values, 2)) / (n - 1)
    assert alpha(labels) == pytest.approx(1.0 - observed / expected)
    same = [
        Label(f"q{k}", "x", "y", "a" if k % 2 else "b", p, "1") for k in range(20) for p in "mn"
    ]
    assert alpha(same) == 1.0
    assert alpha(same[:-2]) is None


# The command.


def test_mistakes_are_one_line(tmp_path: Path, capsys) -> None:
    from cli import pool_rows, write_jsonl
    from whichpairs.workflow.import_pool import import_pool

    run = tmp_path / "run"
    import_pool(write_jsonl(tmp_path / "p.jsonl", pool_rows(2, 2)), run)
    bad = tmp_path / "quiz.jsonl"
    bad.write_text('{"prompt": "x", "completion_a": "y", "completion_b": "z", "answer": "left"}\n')
    for options, rule in (
        ([], "there must be picked pairs"),
        (["--host", "0.0.0.0"], "--host beyond this machine needs --public-url"),
        (["--public-url", "labels.example"], "--public-url must be"),
        (["--public-url", "http://labels.example"], "cookies travel by https only"),
        (["--person", "a\nb"], "an annotator's name must be"),
        (["--repeat", "1"], "--repeat must be"),
        (["--lease-minutes", "0"], "--lease-minutes must be"),
        (["--price", "-1"], "--price must be"),
        (["--overlap", "1.1"], "--overlap must be"),
        (["--quiz", bad], "has answer 'left'"),
        (["--quiz", tmp_path / "none"], "--quiz must name a file"),
        (["--guidelines", tmp_path / "none"], "--guidelines must name a file"),
    ):
        assert rule in fails(capsys, "serve", "--run", run, *options)
    assert not (run / "serve.json").exists()


@pytest.mark.slow
def test_a_command_picks_the_next_batch(tmp_path: Path, capsys) -> None:
    """As the owner's button does: the last batch's own command, once more."""
    from cli import ok, pool_rows, write_jsonl
    from whichpairs.cli.labels.serve import _pick

    run = tmp_path / "run"
    ok(capsys, "import", write_jsonl(tmp_path / "p.jsonl", pool_rows(8, 4)), "--run", run)
    ok(capsys, "features", "--run", run, "--method", "text", "--dim", "18")
    ok(capsys, "select", "--run", run, "--budget", "6", "--controls", "0", "--criterion", "random")
    project = open_project(run, _pick)
    site = Site(tmp_path, project)
    assert site.desk.left() == 6
    owner = site.owner()
    assert "6 more pairs" in owner.post("/api/owner/pick", json={}).json()["message"]
    assert site.desk.left() == 12
    assert len(site.person().get("/api/next").json()["pairs"]) == 3
    with pytest.raises(Exception, match="no batch was picked"):
        picked(["select", "--run", str(run), "--budget", "0"])


def test_serve_plans_the_overlap(tmp_path: Path) -> None:
    run = picked_run(tmp_path, [f"Q{k}?" for k in range(4)], [(f"x{k}", f"y{k}") for k in range(4)])
    waiting = list[int]()

    def opened(doors: Doors) -> None:
        waiting.append(doors.waiting)
        raise KeyboardInterrupt

    for share in (0.0, 0.5, 0.0):
        with pytest.raises(KeyboardInterrupt):
            serve(run, ServeSettings(overlap=share), port=0, opened=opened)
    assert waiting == [4, 6, 6]  # what was planned is kept, whatever the next server is told
    assert len((run / "overlap" / "001.jsonl").read_text().splitlines()) == 2
