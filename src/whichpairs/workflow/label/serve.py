"""Stage serve: the run's picked pairs in a labelling page, for people with an invitation.

Reads the run as `status` does, without holding it: other commands work while people answer.
"""

import json
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from whichpairs.chat import spoken
from whichpairs.errors import MissingExtraError, UserError, plainly
from whichpairs.label.stores.base import Task
from whichpairs.label.stores.place import move_to
from whichpairs.label.stores.serving import open_serving
from whichpairs.label.web.project import Project, ServeSettings, Texts, Turns
from whichpairs.pool.pool import Pool
from whichpairs.run.folder import open_run
from whichpairs.workflow.label.overlap import plan
from whichpairs.workflow.workspace import Workspace, workspace

SECRET = "serve.json"
LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class Doors:
    """The links that let people in: they are as good as a password.

    Attributes:
        owner: the owner's; people: by annotator.
        waiting: answers that the picked pairs wait for.
    """

    owner: str
    people: dict[str, str]
    waiting: int


def serve(
    run: str | Path,
    settings: ServeSettings,
    *,
    host: str = "127.0.0.1",
    port: int = 8080,
    public_url: str | None = None,
    store: str | None = None,
    pick: Callable[[Workspace], Sequence[str] | None] = lambda space: None,
    opened: Callable[[Doors], None] = lambda doors: None,
) -> None:
    """Serve until the process is stopped.

    Args:
        host: the address to listen at; another than this machine's own needs `public_url`.
        port: 0 is any that is free.
        public_url: how browsers reach the page, a proxy's prefix included.
        store: ``postgresql://…``: the labels move there; None leaves them where they are.
        pick: the command that picks the next batch, as words after ``whichpairs``.
        opened: told when the page is there.

    Raises:
        UserError: no picked pairs, the port is taken, a setting is out of range …
    """
    try:
        import uvicorn

        from whichpairs.label.web.app import application
        from whichpairs.label.web.desk import Desk
        from whichpairs.label.web.guard import Address
        from whichpairs.label.web.keys import Keys, read_secret
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "starlette", "serve") from None
    root = Path(run)
    _check_reach(host, public_url)
    project = open_project(root, pick, settings.overlap)
    listening = _listen(host, port)
    try:
        if store is not None:
            with workspace(root):  # nobody else writes labels meanwhile
                move_to(root, store)
        number = listening.getsockname()[1]
        shown = f"[{host}]" if ":" in host else host
        settings = replace(settings, public_url=public_url or f"http://{shown}:{number}")
        kept = open_serving(root)
        desk, keys = Desk(kept, project, settings), Keys(read_secret(root / SECRET), kept)
        app = application(desk, keys, Address.of(settings.public_url))
        web = app.state.web
        for name in settings.people:
            keys.invite(name)
        people = {name: web.link(keys.token(name)) for name in sorted(keys.invited)}
        opened(Doors(web.link(keys.owner_token), people, desk.left()))
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=3,
        )
        uvicorn.Server(config).run(sockets=[listening])
        kept.close()
    finally:
        listening.close()


def open_project(
    root: Path, pick: Callable[[Workspace], Sequence[str] | None], overlap: float = 0.0
) -> Project:
    """What the pages need of a run.

    Args:
        overlap: the share of each batch's pairs that two people answer (`workflow.label.overlap`).

    Raises:
        UserError: nothing has been picked, or the share is out of range.
    """
    with workspace(root) as space:  # imported labels arrive, a killed stage is cleared up
        if not space.batches:
            raise UserError(
                "there must be picked pairs to label",
                "no batch has been picked",
                f"run: whichpairs select --run {root} --budget N",
            )
        plan(space, overlap)  # refuses a share out of range; `tasks` keeps the plan
        pool = space.pool
    text, row_of, prompt_of = pool.completions["completion"], pool.row_of, pool.prompt_of

    def texts(id_a: str, id_b: str) -> Texts:
        a, b = row_of[id_a], row_of[id_b]
        return Texts(turns(pool, int(prompt_of[a])), text[a], text[b])

    def pick_now() -> str:
        words = pick(Workspace(open_run(root)))
        if words is None:
            raise UserError(
                "a next batch is picked as the last one was", "its command is not known"
            )
        return picked(words)

    return Project(
        root.resolve().name, texts, lambda: tasks(Workspace(open_run(root)), overlap), pick_now
    )


def tasks(space: Workspace, overlap: float = 0.0) -> list[Task]:
    """The pairs of every batch, and how many people are to answer each."""
    planned = plan(space, overlap)
    planned.keep()
    return [
        Task(row["pair_id"], row["id_a"], row["id_b"], name, planned.wanted[row["pair_id"]])
        for name, batch in space.batches.items()
        for row in batch
    ]


def turns(pool: Pool, prompt: int) -> Turns:
    """A prompt as it is shown: who speaks, and what is said, tool calls as JSON."""
    said = pool.messages(prompt)
    if isinstance(said, str):
        return (("", said),)
    return tuple((str(message["role"]), spoken(message)) for message in said)


def picked(words: Sequence[str]) -> str:
    """Run a command of whichpairs's in a process of its own; what it says.

    Raises:
        UserError: it refuses.
    """
    command = [sys.executable, "-m", "whichpairs.cli", *words, "--json"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        said = done.stderr.strip().rpartition("\n")[2].removeprefix("whichpairs: ")
        raise UserError("no batch was picked", said or "the command was stopped")
    result = json.loads(done.stdout)
    return str(result.get("message") or f"{result.get('picked', 'Some')} more pairs are picked.")


def _check_reach(host: str, public_url: str | None) -> None:
    if public_url is not None:
        parts = urlsplit(public_url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query:
            raise UserError(
                "--public-url must be https://NAME or https://NAME/PREFIX", f"got {public_url!r}"
            )
        if parts.scheme == "http" and parts.hostname not in LOOPBACK:
            raise UserError(
                "people's cookies travel by https only",
                f"got --public-url {public_url}",
                "put a proxy with a certificate before it, and give its https address",
            )
    elif host not in LOOPBACK:
        raise UserError(
            "--host beyond this machine needs --public-url",
            f"got --host {host} without",
            "give the https address by which people reach it",
        )


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(256)
    except (OSError, OverflowError) as error:
        raise UserError(
            "--host and --port must be free here",
            f"{host}:{port}: {plainly(error)}",
            "give another --port, or 0 for any that is free",
        ) from None
    return listening
