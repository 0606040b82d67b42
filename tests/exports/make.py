"""Files as Label Studio and Argilla themselves write them, for `tests/test_tools.py`. Run once, by hand:

    python tests/exports/make.py shared OUT                      # in whichpairs's environment
    python tests/exports/make.py argilla OUT                     # where argilla 2.8.0 (and requests) is
    python tests/exports/make.py label-studio OUT URL TOKEN      # where label-studio-sdk 2.1.2 is

URL is of a Label Studio 1.23.2 on this machine (`label-studio start --user-token TOKEN …`, with
LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN=true). Argilla's server wants Elasticsearch and was not there: its own
client wrote the files, of its own records, with nothing behind it.
What was answered: person 1's pairs, in Argilla by two people, `SAID` in turn (in Argilla the second says B of the first three).
"""

import itertools
import json
import sys
from pathlib import Path

SAID = ("a", "b", "tie", "both_bad", "draft", "discarded")
PEOPLE = ("11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222")
PAIRS = 8


def shared(out: Path) -> None:
    """What is put into the tools: `whichpairs share`, of a small run."""
    from whichpairs.bench.labels.site import picked_run
    from whichpairs.workflow.label.share import share

    sides = [(f"good {k} <b>", f"bad {k} \N{SNOWMAN}") for k in range(PAIRS)]
    out.mkdir(parents=True)
    run = picked_run(out, [f"Question {k}?" for k in range(PAIRS)], sides)
    for tool in ("argilla", "label-studio"):
        share(run, out / tool, to=tool, seed=1)


def argilla(out: Path) -> None:
    """Records with responses, in every form that the client writes."""
    from unittest.mock import MagicMock

    import argilla as rg
    from argilla.records._io import HFDatasetsIO, JsonIO

    rg.Argilla._default_client = MagicMock()  # there is no server, and nothing is asked of it
    settings = rg.Settings.from_json(out / "argilla" / "settings.json")
    settings.to_json(out / "argilla-settings.json")
    records = JsonIO._records_from_json(out / "argilla" / "person1.json")
    assert {name for record in records for name in record.fields} == set(settings.schema) - {
        question.name for question in settings.questions
    } - {one.name for one in settings.metadata}
    for number, (record, said) in enumerate(zip(records, itertools.cycle(SAID))):
        status = said if said in ("draft", "discarded") else "submitted"
        value = {"draft": "a", "discarded": None}.get(said, said)
        record.responses.add(rg.Response("choice", value, PEOPLE[0], status=status))
        if number < 3:
            record.responses.add(rg.Response("choice", "b", PEOPLE[1], status="submitted"))
    JsonIO.to_json(records, out / "argilla-nested.json")

    class Dataset:
        schema = settings.schema

    flat = HFDatasetsIO.to_datasets(records, Dataset)
    flat.to_json(out / "argilla-flat.jsonl")
    flat.to_parquet(out / "argilla-flat.parquet")
    flat.to_csv(out / "argilla-flat.csv")


def label_studio(out: Path, url: str, token: str) -> None:
    """A project with our configuration and tasks, answered over its interface, exported as JSON."""
    import requests

    def ask(method: str, path: str, body: object = None) -> object:
        heads = {"Authorization": f"Token {token}"}
        found = requests.request(method, f"{url}/api/{path}", json=body, headers=heads, timeout=60)
        assert found.ok, found.text[:500]
        return found.json() if found.content else None

    folder = out / "label-studio"
    config = (folder / "config.xml").read_text(encoding="utf-8")
    project = ask("POST", "projects/", {"title": "whichpairs", "label_config": config})
    tasks = json.loads((folder / "person1.json").read_text(encoding="utf-8"))
    ask("POST", f"projects/{project['id']}/import", tasks)
    listed = ask("GET", f"tasks/?project={project['id']}&fields=all&page_size=100")
    rows = listed["tasks"] if isinstance(listed, dict) else listed
    for task, said in zip(sorted(rows, key=lambda row: row["id"]), itertools.cycle(SAID)):
        value = {"choices": ["a" if said in ("draft", "discarded") else said]}
        result = [{"type": "choices", "value": value, "from_name": "choice", "to_name": "prompt"}]
        what, more = "annotations/", {"was_cancelled": said == "discarded"}
        if said == "draft":
            what, more = "drafts", {}
        ask("POST", f"tasks/{task['id']}/{what}", {"result": result, "lead_time": 3.5, **more})
    export = ask("GET", f"projects/{project['id']}/export?exportType=JSON&download_all_tasks=true")
    (out / "label-studio.json").write_text(json.dumps(export, ensure_ascii=False, indent=1) + "\n")


if __name__ == "__main__":
    tool, folder, *rest = sys.argv[1:]
    {"shared": shared, "argilla": argilla, "label-studio": label_studio}[tool](Path(folder), *rest)
