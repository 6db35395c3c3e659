"""Evidence of a latent: contexts read back from references, neighbours, blind, and its hash."""

from dataclasses import replace

import numpy as np
import pytest
from judge_fixtures import toy_source

from saeeval_core.errors import ArtifactError, DataError
from saeeval_core.evidence.evidence import for_judge, latent_evidence
from saeeval_core.evidence.intruder import judged_evidence
from saeeval_core.evidence.sources import EvidenceSource


@pytest.fixture
def source() -> EvidenceSource:
    return toy_source()


def test_contexts_show_the_tokens_where_the_latent_fired(source: EvidenceSource) -> None:
    e = latent_evidence([source], 0)
    first = e.contexts[0]
    assert "".join(first.tokens) in source.texts.texts[first.text_row]
    assert first.before + "".join(first.tokens) + first.after == source.texts.texts[first.text_row]
    strongest = first.tokens[int(np.argmax(first.activations))]
    assert strongest.strip() == "she"
    assert first.share == 1.0
    assert (first.source, first.cell, first.kind) == ("toy", "nurse, female", "top")


def test_groups_keep_strongest_intervals_and_cells_apart(source: EvidenceSource) -> None:
    headings = set(latent_evidence([source], 0).groups())
    assert headings == {
        ("toy", "strongest"),
        ("toy", "lower intervals"),
        ("toy", "nurse, female"),
        ("toy", "surgeon, female"),
    }


def test_blind_evidence_tells_no_label(source: EvidenceSource) -> None:
    seen = latent_evidence([source], 0, blind=True)
    assert {c.cell for c in seen.contexts} == {""}
    assert {c.kind for c in seen.contexts} <= {"top", "sampled"}
    judged = for_judge(latent_evidence([source], 0))
    assert judged.blind
    assert {c.cell for c in judged.contexts} == {""}
    assert judged.hash == for_judge(replace(seen, neighbours=(), coactive=())).hash


def test_hash_changes_with_anything_shown(source: EvidenceSource) -> None:
    e = latent_evidence([source], 0)
    assert e.hash == latent_evidence([toy_source()], 0).hash
    others = (latent_evidence([source], 1), replace(e, contexts=e.contexts[:-1]), replace(e, blind=True))
    assert len({e.hash, *(o.hash for o in others)}) == 4


def test_general_text_stands_beside_the_tasks_own(source: EvidenceSource) -> None:
    general = replace(source, texts=replace(source.texts, name="general"), columns=())
    e = latent_evidence([source, general], 0)
    assert [s for s, _ in e.groups()][-1] == "general"
    assert {c.cell for c in e.contexts if c.source == "general"} == {""}


def test_mixed_saes_foreign_texts_and_unknown_latents_are_refused(source: EvidenceSource) -> None:
    other = replace(source, latents=replace(source.latents, sae_fingerprint="other"))
    with pytest.raises(ArtifactError, match="mixes two SAEs"):
        latent_evidence([source, other], 0)
    with pytest.raises(ArtifactError, match="does not belong"):
        latent_evidence([replace(source, texts=replace(source.texts, texts=("a", "b")))], 0)
    with pytest.raises(DataError, match="has latents 0 to 3"):
        latent_evidence([source], 4)


def test_neighbours_by_decoder_and_by_activity(source: EvidenceSource) -> None:
    e = latent_evidence([source], 0)
    assert (e.neighbours[0].latent, e.neighbours[0].cosine) == (1, pytest.approx(0.8, abs=1e-3))
    assert 0 not in {n.latent for n in (*e.neighbours, *e.coactive)}
    assert latent_evidence([source], 3).coactive == ()


def test_a_judges_evidence_takes_no_pass_over_all_codes(source: EvidenceSource) -> None:
    judged_evidence([source], 0)
    assert "column_norms" not in vars(source.latents)
    latent_evidence([source], 0)
    assert "column_norms" in vars(source.latents)  # and people's takes one for all latents
