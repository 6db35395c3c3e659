"""The offline default: a weak judge without a network, from the likelihoods of the bundled language model.

For each concept: how much more likely does the model find the concept's words after a list of the latent's strongest
words and promoted tokens than after lists of everyday words? The log ratio, averaged over TEMPLATES, becomes a rating
of 0..4 by CUTS. It sees single words only and cannot reason, so its verdicts carry the rater kind "local".

CUTS were chosen on the half of the paper's labelled latents whose SHA-256 of the id is even (against the first human);
the other half was read once: Cohen's kappa with that human at ">= 1" .51 [.34, .67] on its 35 latents, where Claude 3.5
Sonnet has .57 [.41, .74] (25 latents) and the second human .56 [.22, .83] (8 latents).
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from saeeval_core.evidence.evidence import EvidenceContext, LatentEvidence
from saeeval_core.evidence.intruder import Trial
from saeeval_core.judging import verdict as v
from saeeval_core.judging.budget import Usage
from saeeval_core.judging.intruder import IntruderQuestion
from saeeval_core.ledger.verdicts import Verdict
from saeeval_core.models.packages import BUNDLED_MODEL

if TYPE_CHECKING:
    from saeeval_core.models.language_model import LanguageModel

VERSION = "likelihood 1"
INTRUDERS_BY = "embeddings 1"
TEMPLATES = ("The words {} all have to do with", "Words: {}\nThis group of words is about the topic of")
CUTS = (2.0, 2.25, 2.5, 3.5)
"""Natural-log likelihood ratios from which a rating is at least 1, 2, 3, 4."""
WORDS, PROMOTED = 10, 5

_NEUTRAL = (
    "time, day, year, week, hour, morning, night",
    "house, street, door, table, window, road, chair",
    "go, come, take, give, make, find, use",
    "big, small, new, old, long, short, high",
    "the, and, of, to, in, for, with",
    "number, part, place, thing, kind, way, case",
    "water, tree, stone, river, bird, rain, grass",
    "first, second, last, next, other, same, more",
)
_PARAPHRASES = {
    "gender": "she he her his him woman women man men female male mother father girl boy wife husband",
    "sentiment": "good bad great terrible love hate wonderful awful best worst positive negative praise disappointment",
    "rating": "good bad great terrible love hate wonderful awful best worst positive negative praise disappointment",
    "professor": "professor professors university academic research teaching faculty scholars",
    "nurse": "nurse nurses nursing patients hospital care healthcare",
    "surgeon": "surgeon surgeons surgery surgical operating hospital",
    "physician": "physician doctor doctors medicine medical clinic",
    "accountant": "accountant accounting tax taxes audit financial finance",
    "architect": "architect architects architecture building buildings design construction",
    "attorney": "attorney lawyer lawyers law legal court litigation",
    "dentist": "dentist dental teeth tooth dentistry oral",
    "filmmaker": "film films movie movies director cinema documentary filmmaking",
    "teacher": "teacher teachers teaching school students classroom education",
    "journalist": "journalist journalism news newspaper reporting reporter media",
    "novelist": "novelist novel novels fiction author writer books story",
    "engineer": "engineer engineers engineering technical machines mechanical design",
    "backpacks": "backpack backpacks bag straps hiking shoulder",
    "suitcases": "suitcase suitcases luggage wheels travel airport",
    "coffee makers": "coffee espresso brew brewing beans cup",
    "kettles": "kettle boil boiling water tea pour",
    "headphones": "headphones ear ears headset music sound",
    "speakers": "speaker speakers bass sound volume room",
    "psychologist": "psychologist psychology therapy mental counseling",
    "photographer": "photographer photography photos camera",
    "painter": "painter painting paintings art artist",
    "model": "model modeling fashion runway",
    "poet": "poet poetry poems writing",
    "books": "book books novel reading author story",
    "software": "software computer program install",
    "electronics": "electronics electronic device battery camera",
    "sports": "sports football cricket rugby tennis match players",
    "entertainment": "film music television movie actor singer album",
    "politics": "politics government election party minister parliament",
    "business": "business company market economy profits shares",
    "tech": "technology computer internet software mobile digital",
}


class LocalJudge:
    """Rates on this machine; deterministic; labelled weak. The model is loaded at the first question only."""

    rater = "LocalJudge (weak, offline)"
    rater_kind = "local"

    def __init__(self, load: "Callable[[], LanguageModel] | None" = None) -> None:
        self._load = load or _bundled
        self._model: LanguageModel | None = None
        self._neutral: list[np.ndarray] = []
        self._embeddings: np.ndarray | None = None

    def question(self, evidence: LatentEvidence, concepts: Sequence[v.Concept], task: str) -> v.Question:
        """The question about one latent, with the evidence that a language-model judge gets but for near misses.

        It counts words that are active: what is silent tells it nothing.
        """
        evidence = replace(evidence, near_misses=())
        names = "; ".join(f"{c.name} ({c.gloss})" if c.gloss else c.name for c in concepts)
        blank = Verdict(
            evidence.latent,
            evidence.sae_fingerprint,
            evidence.sae,
            task,
            self.rater,
            self.rater_kind,
            model=BUNDLED_MODEL,
            prompt=f"{VERSION}: {names}",
            evidence_hash=evidence.hash,
        )
        return LocalQuestion(blank, tuple(concepts), evidence)

    def intruder_question(self, trial: Trial, texts: str) -> IntruderQuestion:
        """The question which of five windows is the intruder."""
        return IntruderQuestion.of(trial, texts, self.rater, self.rater_kind, BUNDLED_MODEL, INTRUDERS_BY)

    def ask(
        self,
        questions: Sequence[v.Question],
        keep: Callable[[Verdict, Usage], None],
        may_ask: Callable[[v.Question], bool] = lambda _: True,
    ) -> None:
        """Rate one after another."""
        for q in questions:
            if may_ask(q):
                keep(self.find(q) if isinstance(q, IntruderQuestion) else self.rate(q), Usage())

    def rate(self, question: v.Question) -> Verdict:
        """The verdict on one latent."""
        assert isinstance(question, LocalQuestion)
        evidence = question.evidence
        strongest = strongest_words(evidence.contexts)[:WORDS]
        promoted = [w for t in evidence.promoted if (w := t.token.strip()) and _is_word(w)][:PROMOTED]
        if not evidence.contexts and not promoted:
            return question.failed(v.NO_EVIDENCE, "no contexts and no promoted tokens")
        if not strongest and not promoted:
            zeros = {c.name: 0 for c in question.concepts}
            why = "no words among the strongest tokens, so nothing to compare"
            return replace(question.blank, ratings=zeros, explanation="Punctuation, numbers or formatting.", reason=why)
        ratios = self.log_ratios([*strongest, *promoted], question.concepts)
        ratings = {c.name: int(sum(r >= cut for cut in CUTS)) for c, r in zip(question.concepts, ratios, strict=True)}
        best = sorted(zip(ratios, question.concepts, strict=True), key=lambda x: -x[0])[:3]
        reason = "Log-likelihood ratios: " + ", ".join(f"{c.name} {r:+.1f}" for r, c in best) + f" (cuts {CUTS})."
        return replace(question.blank, ratings=ratings, explanation=_describe(strongest, promoted), reason=reason)

    def find(self, question: IntruderQuestion) -> Verdict:
        """The window whose marked words are least like those of the others, by cosine of the model's own embeddings.

        Of a word's pieces the mean, without the mean over the vocabulary; of two windows the best match of each word.
        """
        vectors = [self._embedded(_marked_words(c)) for c in question.trial.windows]
        alike = np.array([[float((a @ b.T).max(1).mean()) for b in vectors] for a in vectors])
        closeness = (alike.sum(1) - alike.diagonal()) / (len(vectors) - 1)
        place = int(closeness.argmin())
        said = ", ".join(f"{n} {c:.2f}" for n, c in enumerate(closeness, 1))
        return question.picked(place, reason=f"Likeness of each window's marked words to the others': {said}.")

    def _embedded(self, words: Sequence[str]) -> np.ndarray:
        """float32[words, width], rows of length 1."""
        lm = self._lm()
        if self._embeddings is None:
            table = lm.hf.get_input_embeddings().weight.detach().float().cpu().numpy()
            self._embeddings = table - table.mean(0)
        ids = [lm.tokenizer(f" {w}", add_special_tokens=False)["input_ids"] for w in words]
        rows = np.stack([self._embeddings[i].mean(0) for i in ids])
        return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)

    def log_ratios(self, words: Sequence[str], concepts: Sequence[v.Concept]) -> list[float]:
        """Per concept, mean over templates of log P(concept's words | words) - log P(concept's words | neutral)."""
        if not self._neutral:
            self._neutral = [np.mean([self._next(t.format(n)) for n in _NEUTRAL], axis=0) for t in TEMPLATES]
        found = [self._next(t.format(", ".join(words))) for t in TEMPLATES]
        out = []
        for concept in concepts:
            ids = self._first_tokens(paraphrases(concept))
            ratios = [math.log(p[ids].sum() / n[ids].sum()) for p, n in zip(found, self._neutral, strict=True)]
            out.append(float(np.mean(ratios)))
        return out

    def _next(self, prompt: str) -> np.ndarray:
        """float64[vocabulary]: probabilities of the next token; one prompt at a time, so that results never vary."""
        import torch

        lm = self._lm()
        ids = lm.tokenizer(prompt, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        with torch.inference_mode():
            logits = lm.hf(torch.tensor([[lm.bos_id, *ids]], device=lm.device), logits_to_keep=1).logits[0, -1]
        return torch.softmax(logits.double(), -1).cpu().numpy()

    def _first_tokens(self, words: Sequence[str]) -> list[int]:
        encode = self._lm().tokenizer
        first = {tuple(encode(f" {w}", add_special_tokens=False)["input_ids"]) for w in words}
        # A word of several tokens would be judged by a fragment; it is used only if there is no whole word.
        whole = {ids[0] for ids in first if len(ids) == 1}
        return sorted(whole or {ids[0] for ids in first if ids})

    def _lm(self) -> "LanguageModel":
        if self._model is None:
            self._model = self._load()
        return self._model


@dataclass(frozen=True)
class LocalQuestion(v.Question):
    """A question with its evidence: this judge uses the words, not the prompt."""

    evidence: LatentEvidence


def paraphrases(concept: v.Concept) -> list[str]:
    """Words for a concept: a stored list for common concepts, else the words of its name and its values."""
    key = concept.name.lower().rstrip("s")
    known = _PARAPHRASES.get(concept.name.lower()) or _PARAPHRASES.get(key)
    own = re.findall(r"[^\W\d_]{3,}", f"{concept.name} {concept.gloss}".lower())
    return known.split() if known else [w for w in own if w not in ("and", "the", "other")] or [concept.name]


def strongest_words(contexts: Sequence[EvidenceContext]) -> list[str]:
    """Whole words around active tokens, by falling share of each context's activation."""
    weights: Counter[str] = Counter()
    spelling: dict[str, str] = {}
    for context in contexts:
        text = context.before + "".join(context.tokens) + context.after
        total = sum(abs(a) for a in context.activations) or 1.0
        start = len(context.before)
        for token, activation in zip(context.tokens, context.activations, strict=True):
            end = start + len(token)
            if activation and (word := _word_at(text, start, end)):
                weights[word.lower()] += abs(activation) / total * context.share
                spelling.setdefault(word.lower(), word)
            start = end
    return [spelling[w] for w, _ in sorted(weights.items(), key=lambda x: (-x[1], x[0]))]


def _marked_words(context: EvidenceContext) -> list[str]:
    """Its marked words in lower case; where none is a word, the marked tokens themselves."""
    words = [w.lower() for w in strongest_words([context])]
    marks = "".join(t for t, a in zip(context.tokens, context.activations, strict=True) if a).strip()
    return words or [marks or "."]


def _word_at(text: str, start: int, end: int) -> str:
    """The word that the token text[start:end] belongs to, "" if it holds no letter."""
    core = re.search(r"[^\W\d_]+", text[start:end])
    if core is None:
        return ""
    a, b = start + core.start(), start + core.end()
    while a > 0 and text[a - 1].isalpha() and a == start:
        a, start = a - 1, start - 1
    while b < len(text) and text[b].isalpha():
        b += 1
    return text[a:b][:40]


def _is_word(token: str) -> bool:
    return token.isalpha() and len(token) > 1


def _describe(strongest: Sequence[str], promoted: Sequence[str]) -> str:
    parts = []
    if strongest:
        parts.append("fires on " + ", ".join(f'"{w}"' for w in strongest[:5]))
    if promoted:
        parts.append("promotes " + ", ".join(f'"{w}"' for w in promoted[:3]))
    return "; ".join(parts) + " (token list, no explanation)"


def _bundled() -> "LanguageModel":
    from saeeval_core.models.language_model import load_model

    return load_model(BUNDLED_MODEL, device="cpu")
