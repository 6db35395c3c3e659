"""Exported decision sets: round trips, checks, and nothing that a spreadsheet would run."""

import pytest

from saeeval_core.errors import ArtifactError
from saeeval_core.formats.decision_sets import ExportedDecision, ExportedSet, set_from_text, set_to_csv, set_to_json

MADE = ExportedSet(
    "mine",
    "shift",
    "bios: nurse/surgeon",
    "toy-sae",
    "f" * 16,
    "e" * 16,
    (
        ExportedDecision(3, "ablate", rater="Ada", when="2026-01-01", reason="=HYPERLINK(1)"),
        ExportedDecision(5, "keep"),
    ),
)
HERE = {"n_latents": 40, "sae_fingerprint": "f" * 16, "recording_fingerprint": "e" * 16}


@pytest.mark.parametrize("write", [set_to_json, set_to_csv])
def test_sets_round_trip_and_a_humans_decisions_come_back_as_imported(write):
    found, warnings = set_from_text(write(MADE), **HERE)
    assert [(d.latent, d.decision, d.reason) for d in found.decisions] == [
        (3, "ablate", "=HYPERLINK(1)"),
        (5, "keep", ""),
    ]
    assert {d.rater_kind for d in found.decisions} == {"imported"} and found.decisions[0].rater == "Ada"
    assert (found.name, found.metric, found.task) == (MADE.name, MADE.metric, MADE.task) and not warnings


def test_csv_quotes_what_a_spreadsheet_would_run():
    assert "'=HYPERLINK" in set_to_csv(MADE)


def test_other_recording_is_a_warning_other_sae_an_error():
    text = set_to_json(MADE)
    assert set_from_text(text, **HERE | {"recording_fingerprint": "0" * 16})[1]
    with pytest.raises(ArtifactError, match="toy-sae"):
        set_from_text(text, **HERE | {"sae_fingerprint": "0" * 16})


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "{}",
        '{"kind": "saeeval decision set", "schema": 9}',
        '{"kind": "saeeval decision set", "schema": 1}',
        "latent,decision\n1,ablate\n",
        "",
        set_to_json(MADE).replace('"latent": 3', '"latent": 99'),
        set_to_json(MADE).replace('"latent": 3', '"latent": -1'),
        set_to_json(MADE).replace('"latent": 3', '"latent": "x"'),
        set_to_json(MADE).replace('"ablate"', '"destroy"'),
    ],
)
def test_bad_set_files_are_one_clear_line(text):
    with pytest.raises(ArtifactError) as caught:
        set_from_text(text, **HERE)
    assert "\n" not in str(caught.value)


def test_a_latent_given_twice_keeps_the_last_decision():
    text = set_to_csv(MADE) + set_to_csv(MADE).splitlines()[1].replace("ablate", "unsure") + "\n"
    found, warnings = set_from_text(text, **HERE)
    assert {d.latent: d.decision for d in found.decisions} == {3: "unsure", 5: "keep"} and "twice" in warnings[0]
