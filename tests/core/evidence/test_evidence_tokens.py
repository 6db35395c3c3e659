"""Promoted tokens: by cosine, and a stored table only for the weights it was made of."""

from dataclasses import replace

import numpy as np

from saeeval_core.evidence.tokens import (
    TokenTable,
    find_token_table,
    load_token_table,
    promoted_tokens,
    token_table_paths,
)


def test_promoted_tokens_by_cosine_worked_by_hand() -> None:
    unembedding = np.array([[2.0, 0], [0, 3], [-1, 0], [1, 1]])
    table = promoted_tokens(np.array([[5.0, 0]]), unembedding, ["a", "b", "c", "d"], 2, sae_fingerprint="s")
    promoted, suppressed = table.of(0)
    assert [(t.token, round(t.cosine, 2)) for t in promoted] == [("a", 1.0), ("d", 0.71)]
    assert [(t.token, round(t.cosine, 2)) for t in suppressed] == [("c", -1.0), ("b", 0.0)]


def test_token_table_round_trip_and_only_for_its_own_weights(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("SAEEVAL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SAEEVAL_ASSETS", str(tmp_path / "assets"))
    rng = np.random.default_rng(0)
    table = promoted_tokens(
        rng.normal(size=(6, 4)), rng.normal(size=(30, 4)), [f"t{i}" for i in range(30)], 3, sae_fingerprint="s"
    )
    assert find_token_table("toy", "s") is None
    shipped, made = token_table_paths("toy", "s")
    replace(table, sae_fingerprint="retrained").save(shipped)
    assert find_token_table("toy", "s") is None
    table.save(made)
    found = find_token_table("toy", "s")
    assert isinstance(found, TokenTable)
    assert [found.of(i) for i in range(6)] == [table.of(i) for i in range(6)]
    assert load_token_table(made).strings == table.strings
