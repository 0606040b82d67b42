"""Where a run's labels are: in its own SQLite file, or in the database that ``RUN/labels.json``
names."""

import json
import secrets
from pathlib import Path

from whichpairs.errors import UserError, plainly
from whichpairs.label.stores.base import LabelStore
from whichpairs.label.stores.sqlite import SqliteStore
from whichpairs.run.files import to_json, write_whole

FILE, POINTER = "labels.sqlite", "labels.json"


def open_store(root: Path, *, serving: bool = False) -> LabelStore:
    """The store of the run at `root`.

    Raises:
        UserError: the pointer is not what whichpairs wrote, or psycopg is missing.
    """
    pointer = root / POINTER
    if not pointer.is_file():
        return SqliteStore(root / FILE, serving=serving)
    from whichpairs.label.stores.postgres import PostgresStore

    try:
        said = json.loads(pointer.read_text(encoding="utf-8"))
        url, schema = str(said["url"]), str(said["schema"])
    except (ValueError, KeyError, TypeError) as error:
        why = plainly(error) if isinstance(error, json.JSONDecodeError) else "it lacks a part"
        raise UserError(
            f"{pointer} must be what whichpairs wrote", why, "put it back as it was"
        ) from None
    return PostgresStore(url, schema)


def move_to(root: Path, url: str) -> bool:
    """Let the run's labels live in a PostgreSQL database from now on, those that are there
    included.

    The password, where the URL has one, is not written down: give it by PGPASSWORD or ~/.pgpass.

    Returns:
        Whether they moved (False: they are there already).

    Raises:
        UserError: they are in another database, or this one cannot be reached.
    """
    from whichpairs.label.stores.postgres import PostgresStore, without_password

    plain, pointer = without_password(url), root / POINTER
    if pointer.is_file():
        there = json.loads(pointer.read_text(encoding="utf-8")).get("url")
        if there != plain:
            raise UserError(
                "a run's labels are in one place", f"they are in {there}", "leave --store out"
            )
        return False
    schema = f"whichpairs_{secrets.token_hex(6)}"
    new, old = PostgresStore(url, schema), SqliteStore(root / FILE)
    if (root / FILE).is_file():
        old.copy_to(new)
    else:
        new.events()
    write_whole(pointer, to_json({"url": plain, "schema": schema}))
    return True
