"""The tables of a label store as the queries name them. What makes them is in `migrations`."""

from sqlalchemy import Column, Float, Integer, MetaData, Table, Text

METADATA = MetaData()

ANSWERS = Table(
    "answers",
    METADATA,
    Column("answer_id", Integer, primary_key=True),
    Column("corrects", Integer),
    Column("pair_id", Text),
    Column("annotator", Text),
    Column("turn", Integer),
    Column("id_a", Text),
    Column("id_b", Text),
    Column("choice", Text),
    Column("probability", Float),
    Column("strength", Integer),
    Column("comment", Text),
    Column("batch", Text),
    Column("shown", Text),
    Column("answered", Text),
    Column("key", Text),
    Column("handle", Text),
    Column("late", Integer),
    Column("created", Text),
)
SOURCES = Table(
    "sources", METADATA, Column("annotator", Text, primary_key=True), Column("settings", Text)
)
TASKS = Table(
    "tasks",
    METADATA,
    Column("place", Integer, primary_key=True),
    Column("pair_id", Text),
    Column("id_a", Text),
    Column("id_b", Text),
    Column("batch", Text),
    Column("wanted", Integer),
    Column("given", Integer),
)
LEASES = Table(
    "leases",
    METADATA,
    Column("handle", Text, primary_key=True),
    Column("pair_id", Text),
    Column("annotator", Text),
    Column("turn", Integer),
    Column("id_a", Text),
    Column("id_b", Text),
    Column("batch", Text),
    Column("began", Float),
    Column("ends", Float),
    Column("done", Integer),
)
EVENTS = Table(
    "events",
    METADATA,
    Column("event_id", Integer, primary_key=True),
    Column("kind", Text),
    Column("annotator", Text),
    Column("data", Text),
    Column("created", Text),
)
