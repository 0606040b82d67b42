"""A PostgreSQL server of our own, on a socket in a temporary folder: for the bench and the
tests."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def _as_nobody() -> dict[str, Any]:
    """PostgreSQL refuses to run as root."""
    return {"user": "nobody", "group": "nogroup"} if os.geteuid() == 0 else {}


def missing() -> list[str]:
    """Programs of PostgreSQL's that are not here."""
    return [name for name in ("initdb", "pg_ctl", "postgres") if shutil.which(name) is None]


@contextmanager
def server() -> Iterator[str]:
    """A server in a temporary folder, which dies at the end."""
    home = Path(tempfile.mkdtemp(prefix="whichpairs-pg-", dir="/tmp"))  # sockets want short paths
    who = _as_nobody()
    if who:
        shutil.chown(home, who["user"], who["group"])
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
