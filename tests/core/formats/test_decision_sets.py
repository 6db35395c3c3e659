"""Exported decision sets: round trips, checks, and nothing that a spreadsheet would run."""

from dataclasses import replace

import pytest

from saeeval_core.errors import ArtifactError
from saeeval_core.formats.decision_sets import (
    ExportedDecision,
    ExportedSet,
    LoggedDecision,
    set_from_text,
    set_to_csv,
    set_to_json,
)

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
LOGGED = replace(
    MADE,
    log=(
        LoggedDecision(3, "keep", old="none", who="Ada", at="2026-01-01", reason="'=1", id=7),
        LoggedDecision(3, "none", old="keep", who="Ada", id=8, undoes=7),
        LoggedDecision(3, "ablate", old="none", id=9),
        LoggedDecision(5, "keep", id=12),
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


def test_the_log_comes_back_from_json_and_is_unknown_from_csv():
    found, warnings = set_from_text(set_to_json(LOGGED), **HERE)
    assert found.log == LOGGED.log and not warnings
    assert set_from_text(set_to_csv(LOGGED), **HERE)[0].log == ()


def test_a_log_that_ends_elsewhere_is_left_out_and_said():
    text = set_to_json(replace(LOGGED, log=LOGGED.log[:-1]))
    found, (warning,) = set_from_text(text, **HERE)
    assert found.log == () and "does not end in the set's decisions" in warning and len(found.decisions) == 2


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
        set_to_json(MADE).replace('"latent": 3', '"latent": 3.7'),
        set_to_json(MADE).replace('"latent": 3', '"latent": true'),
        set_to_json(MADE).replace('"ablate"', '"destroy"'),
        set_to_json(MADE).replace('"log": []', '"log": [3]'),
        set_to_json(MADE).replace('"log": []', '"log": {}'),
        set_to_json(LOGGED).replace('"new": "none"', '"new": "destroy"'),
        set_to_json(LOGGED).replace('"undoes": 7', '"undoes": "x"'),
        set_to_json(LOGGED).replace('"new": "keep"', '"latent": 99'),
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
