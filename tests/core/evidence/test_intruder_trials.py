"""Near misses and trials of the intruder task: who is silent where, what is marked, and that all get the same ones."""

import numpy as np
import pytest
from judge_fixtures import many_windows, toy_source

from saeeval_core.errors import DataError
from saeeval_core.evidence.evidence import for_judge, shown_evidence
from saeeval_core.evidence.intruder import WINDOWS, judged_evidence, near_misses, trials_of

SHE, HER = 0, 1


def test_four_windows_are_the_latents_and_one_is_its_nearests_where_it_is_silent():
    source = many_windows()
    silent = source.latents.latents.toarray()[:, SHE] == 0
    for trial in trials_of([source], SHE, 20):
        assert len(trial.windows) == WINDOWS and len({c.text_row for c in trial.windows}) == WINDOWS
        assert [bool(silent[c.text_row]) for c in trial.windows] == [p == trial.intruder for p in range(WINDOWS)]
        assert trial.other == HER, "the only one with a cosine above 0"
        marked = ["".join(t for t, a in zip(c.tokens, c.activations, strict=True) if a).strip() for c in trial.windows]
        assert marked == ["her" if p == trial.intruder else "she" for p in range(WINDOWS)]


def test_nothing_but_the_marks_tells_the_intruder():
    for trial in trials_of([many_windows()], SHE, 10):
        assert {(c.kind, c.cell, c.share, c.source) for c in trial.windows} == {("window", "", 1.0, "toy")}
        assert {sum(a != 0 for a in c.activations) for c in trial.windows} == {1}
        assert {a for c in trial.windows for a in c.activations} == {0.0, 1.0}


def test_trials_are_the_same_for_everyone_differ_by_number_and_put_the_intruder_anywhere():
    found = trials_of([many_windows()], SHE, 60)
    assert [t.hash for t in found] == [t.hash for t in trials_of([many_windows()], SHE, 60)]
    assert len({t.hash for t in found}) == 60
    assert {t.intruder for t in found} == set(range(WINDOWS))


def test_sources_take_turns():
    found = trials_of([many_windows(), many_windows("general")], SHE, 4)
    assert [t.windows[0].source for t in found] == ["toy", "general", "toy", "general"]


def test_a_latent_with_too_few_windows_or_no_neighbour_has_no_trial():
    assert trials_of([toy_source()], SHE) == []  # two windows that were not picked by their labels
    assert trials_of([many_windows()], 3) == []  # never fires
    with pytest.raises(DataError, match="has latents 0 to 3"):
        trials_of([many_windows()], 4)


def test_near_misses_are_in_the_evidence_of_ratings_with_nothing_marked():
    source = many_windows()
    found = judged_evidence([source], SHE)
    assert (
        found.near_misses == near_misses(source, SHE, 2) and len(found.near_misses) == 1
    )  # one near latent, one window
    (missed,) = found.near_misses
    assert "her" in "".join(missed.tokens) and not any(missed.activations)
    assert source.latents.latents.toarray()[missed.text_row, SHE] == 0


def test_without_near_misses_the_hash_is_what_earlier_versions_stored():
    plain = for_judge(shown_evidence([toy_source()], SHE, similar=0))
    assert plain.hash == "9632186c3c6d89be"
    assert (
        judged_evidence([many_windows()], SHE).hash != for_judge(shown_evidence([many_windows()], SHE, similar=0)).hash
    )


def test_a_windows_marks_are_its_strongest_tokens():
    codes = many_windows()
    for trial in trials_of([codes], HER, 5):
        refs = {r.text: r for r in codes.latents.contexts.of(HER)}
        for place, c in enumerate(trial.windows):
            if place != trial.intruder:
                assert int(np.argmax(c.activations)) == int(np.argmax(refs[c.text_row].activation))
