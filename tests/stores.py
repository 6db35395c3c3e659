"""A store with a little of everything in it, and ways to damage one."""

from dataclasses import replace
from pathlib import Path

from saeeval_core.ledger.store import DecisionSet, PressId, Store, Verdict

WIDTH = 100_000
"""More latents than are decided on here."""
VERDICT = Verdict(
    latent=7,
    sae_fingerprint="s",
    sae="toy",
    task="bios",
    rater="judge",
    rater_kind="llm",
    ratings={"nurse": 3, "female": 0},
    explanation="hospital words",
    reason="all five contexts",
    model="m",
    prompt="p",
    evidence_hash="e",
    raw="{}",
)


def make_set(
    store: Store, name: str = "mine", who: str = "ann", direction: str = "d", metric: str = "shift"
) -> DecisionSet:
    place = {"metric": metric, "task": "bios", "direction": direction}
    return store.create_set(name, who, **place, sae_fingerprint="s", recording_fingerprint="r")


def fill(store: Store, presses: int = 30) -> None:
    """Two sets with decisions, undo, names, looks and commits; verdicts, one of them longer than a page; a batch."""
    first, second = make_set(store), make_set(store, "other", "bob", direction="swapped")
    for k in range(presses):
        with store.once(PressId("page", k, "ann", "decide")):
            store.decide(first.id, "ann", {k: "ablate", k + 1: "keep"}, "pronouns" * (k % 3))
    store.undo(first.id, "ann")
    store.duplicate_set(first.id, "bob's", "bob", WIDTH)
    store.decide(second.id, "bob", {4: "unsure"})
    store.rename_set(first.id, "final: Zoë's", "ann")
    store.note_look(first.id, "ann", [1])
    guest = make_set(store, "mine", "guest 0123456789", direction="third")
    store.decide(guest.id, "guest 0123456789", {5: "ablate"})
    store.take_over("guest 0123456789", "ann")
    store.note_origin(second.id, 3)
    store.commit(first.id, "ann", [1, 2], {"score": 0.5})
    store.add_verdicts([replace(VERDICT, latent=k, prompt="p" * (9000 * (k == 3))) for k in range(6)])
    store.note_batch("b1", "created", {"a": [1]})


def state(store: Store) -> dict[str, dict[int, object]]:
    """Everything in it, by kind and id."""
    sets = {s.id: s for s in store.list_sets()}
    return {
        "sets": dict(sets),
        "decisions": {d.id: d for i in range(1, 9) for d in store.history(i)},
        "commits": {c.id: c for c in store.commits()},
        "verdicts": {v.id: v for v in store.verdict_history("s")},
    }


def flip(file: Path, bit: int) -> None:
    """Change one bit."""
    content = bytearray(file.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    file.write_bytes(content)


def flip_in(file: Path, text: bytes, which: int = -1) -> None:
    """Change the first letter of the first or last place of a text."""
    content = file.read_bytes()
    at = content.find(text) if which == 0 else content.rfind(text)
    assert at > 0
    flip(file, at * 8)
