"""Data sets of the Hugging Face Hub: named ones with the paper's pairs and classes, and any other by its columns."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from saeeval_core.errors import DataError
from saeeval_core.storage.hub import fail_fast
from saeeval_core.texts.choices import TaskLabels
from saeeval_core.texts.files import from_frame
from saeeval_core.texts.tasks import TaskSet, with_labels

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class HubSource:
    """A Hub data set with known label names, and the paper's pairs and classes (arXiv 2411.18895, section 4)."""

    repo: str
    text: str
    columns: Mapping[str, Mapping[str, str] | None]
    """Column -> stored value to readable value (None: values are used as they are)."""
    pairs: tuple[tuple[str, str], ...] = ()
    """SHIFT pairs, each "column=positive,negative" for target and spurious label."""
    classes: str = ""
    """TPP classes, "column=a,b,c"."""
    config: str | None = None


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
    ),
    "ag_news": HubSource(
        "fancyzhx/ag_news",
        "text",
        {"label": {"0": "World", "1": "Sports", "2": "Business", "3": "Sci/Tech"}},
        (),
        "label=World,Sports,Business,Sci/Tech",
    ),
}


def hub_task(name: str) -> TaskSet:
    """One of HUB_TASKS, downloaded or found in the local cache. DataError when neither works."""
    source = HUB_TASKS[name]
    frame = download(source.repo, source.config)
    for column, names in source.columns.items():
        if names is not None and column in frame:
            frame[column] = frame[column].map(lambda v, names=names: names.get(str(v), str(v)))
    texts = from_frame(frame, name, source.text, "", f"Hub: {source.repo}")
    made = [with_labels(texts, TaskLabels.read(*pair, "")) for pair in source.pairs]
    classes = with_labels(texts, TaskLabels.read("", "", source.classes))
    return TaskSet(texts, tuple(p for m in made for p in m.pairs), classes.tpp)


def download(repo: str, config: str | None) -> "pd.DataFrame":
    """All splits of a Hub data set (or a local folder that ``datasets`` can read), with a column ``split``.

    DataError if it cannot be loaded.
    """
    import datasets
    import pandas as pd
    from datasets.exceptions import DatasetsError

    try:
        with fail_fast():
            parts: Any = datasets.load_dataset(repo, config)
        return pd.concat([part.to_pandas().assign(split=name) for name, part in parts.items()], ignore_index=True)
    # What datasets, pyarrow and fsspec raise for names, folders and tables they cannot read.
    except (OSError, ValueError, TypeError, LookupError, AttributeError, RuntimeError, ImportError, DatasetsError) as e:
        raise DataError(
            f"data set {ascii(repo[:80])} cannot be loaded ({type(e).__name__}); with no network, save it as a Parquet "
            "file and use --texts FILE"
        ) from None
