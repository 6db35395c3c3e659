"""What a search for latents looks through, and what it finds: the same in the lab's queue and on the Latents page."""

from collections.abc import Sequence

from app.services import verdicts
from app.services.loading import Loaded
from app.services.shared import shared
from saeeval_core.evidence.tokens import find_token_table

_PROMOTED = 5


def words_of(loaded: Loaded, latents: Sequence[int]) -> list[str]:
    """Per latent its explanation, what it was rated at least 1 for ("gender 3/4") and the tokens it promotes most."""
    named, rated = verdicts.latents_named(loaded), _rated(loaded, verdicts.newest(loaded))
    told = promoted(loaded, latents)
    return [" ".join((named.get(i, ("",))[0], rated.get(i, ""), t)).lower() for i, t in zip(latents, told, strict=True)]


def finds(search: str, latent: int, words: str) -> bool:
    """Every word of the search is the latent's id or somewhere in its ``words_of``; a number must be a word of its own.

    ``app/components/lab/queue.js`` does the same in the browser.
    """
    own = words.split()
    return all(
        w.removeprefix("#") == str(latent) or (w in own if w.isdigit() else w in words) for w in search.lower().split()
    )


def promoted(loaded: Loaded, latents: Sequence[int]) -> list[str]:
    """Per latent the tokens it promotes most, as one line; "" where no table of tokens is stored."""
    table = find_token_table(loaded.latents.sae, loaded.latents.sae_fingerprint)
    if table is None:
        return [""] * len(latents)
    return [" ".join(t.token.strip() for t in table.of(i)[0][:_PROMOTED]) for i in latents]


@shared(max_entries=16)
def _rated(loaded: Loaded, _newest_verdict: int) -> dict[int, str]:
    """Latent -> its ratings of 1 or more, each the highest of any rater; "no verdict" where every judge failed."""
    best: dict[int, dict[str, int]] = {}
    for v in verdicts.current(loaded):
        own = best.setdefault(v.latent, {})
        for concept, rating in v.ratings.items() if v.ok else ():
            own[concept] = max(rating, own.get(concept, 0))
    told = {i: " ".join(f"{c} {r}/4" for c, r in own.items() if r) for i, own in best.items() if own}
    return {i: told.get(i, "no verdict") for i in best}
