"""A PostgreSQL server of the tests' own, on a socket in a temporary folder."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def _as_nobody() -> dict[str, object]:
    """PostgreSQL refuses to run as root."""
    return {"user": "nobody", "group": "nogroup"} if os.geteuid() == 0 else {}


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a database that is empty at first."""
    missing = [name for name in ("initdb", "pg_ctl", "postgres") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"no PostgreSQL server here: {', '.join(missing)} not found")
    with server() as url:
        yield url


@contextmanager
def server() -> Iterator[str]:
    """A server in a temporary folder, which dies at the end."""
    home = Path(tempfile.mkdtemp(prefix="whichpairs-pg-", dir="/tmp"))  # sockets want short paths
    who = _as_nobody()
    if who:
        shutil.chown(home, *who.values())  # type: ignore[arg-type]
    data = home / "data"

    def run(*command: str) -> None:
        done = subprocess.run(
            command, cwd=home, stdin=subprocess.DEVNULL, capture_output=True, text=True, **who
        )
        assert done.returncode == 0, done.stdout + done.stderr

    try:
        run("initdb", "-D", str(data), "-A", "trust", "-U", "owner", "-E", "UTF8", "--no-sync")
        options = f"-k {home} -c listen_addresses='' -c max_connections=150"
        run("pg_ctl", "-D", str(data), "-o", options, "-l", str(home / "log"), "-w", "start")
        yield f"postgresql://owner@/postgres?host={home}"
    finally:
        if (data / "postmaster.pid").exists():
            run("pg_ctl", "-D", str(data), "-m", "immediate", "stop")
        shutil.rmtree(home, ignore_errors=True)
