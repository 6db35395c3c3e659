"""``saeeval commit``: a set made in the dashboard is frozen and scored from the command line."""

import json

import pytest

from saeeval_core.config import RunConfig
from saeeval_core.evaluation.prepare import prepare
from saeeval_core.ledger.places import new_set, shift_place
from saeeval_core.ledger.store import Store


@pytest.fixture
def place(cache, tiny_model_dir, tiny_sae_dirs, tiny_texts_file):
    """Of the first direction of the tiny texts."""
    labels = {"target": "profession=nurse,surgeon", "spurious": "gender=female,male"}
    sae = str(tiny_sae_dirs["topk"])
    config = RunConfig(model=str(tiny_model_dir), saes=(sae,), task="", texts=str(tiny_texts_file), **labels)
    prepared = prepare(config)
    task = prepared.evaluation.directions[0].task
    return shift_place(prepared.task_set.texts.name, task.name, task.direction, prepared.saes[0])


@pytest.fixture
def own(args) -> list[str]:
    """Model, SAE, texts and labels."""
    return args[1 : args.index("--metrics")]


def test_a_set_is_committed_by_its_name(call, own, place, tmp_path):
    store = Store()
    made = new_set(store, place, "Ada", "pronouns", {0: "ablate"})
    out_file = tmp_path / "commit.json"
    code, out, err = call("commit", "pronouns", "--who", "Ada", *own, "--json", out_file)
    assert code == 0, err
    assert "pronouns (Ada), committed by Ada on test: " in out and "still readable: R spurious" in out
    (kept,) = store.commits(made.id)
    assert kept.ids == (0,) and json.loads(out_file.read_text()) == kept.test


def test_what_cannot_be_committed_is_said_in_one_line(call, own, place):
    empty = new_set(Store(), place, "Eve", "empty")
    call.refuses("decision set.*'none'.*empty", "commit", "none", "--who", "Bob", *own)
    call.refuses("'half'.*zero", "commit", "empty", "--who", "Bob", "--ablation", "half", *own)
    call.refuses("belongs to Eve", "commit", "empty", "--who", "Bob", *own)
    call.refuses("nothing is ablated", "commit", str(empty.id), "--who", "Eve", *own)


def test_latents_that_the_sae_lacks_are_named_and_left_out(call, own, place):
    store = Store()
    made = new_set(store, place, "Ada", "wide", {0: "ablate", 99_999: "ablate"})
    code, out, err = call("commit", "wide", "--who", "Ada", *own)
    assert code == 0 and store.commits(made.id)[0].ids == (0,)
    assert "set 'wide': decisions on latents that this SAE does not have (99999; it has 0 to" in err
