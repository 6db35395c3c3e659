"""What a notebook has: a table of texts, a model with its tokenizer, a dictionary, and results of them."""

from pathlib import Path
from typing import Any

import pytest
from foreign_files import rand
from toys import D_MODEL, tiny_sae


@pytest.fixture(scope="session")
def frame(tiny_texts):
    """The tiny texts as a table."""
    import pandas as pd

    return pd.DataFrame({"text": tiny_texts.texts, **tiny_texts.columns})


@pytest.fixture(scope="session")
def hf(tiny_model_dir):
    """(model, tokenizer) of transformers."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    return AutoModelForCausalLM.from_pretrained(tiny_model_dir), AutoTokenizer.from_pretrained(tiny_model_dir)


JOBS = {"target": {"profession": ["nurse", "surgeon"]}, "spurious": {"gender": ["female", "male"]}}
MEALS = {"classes": {"meal": ["tea", "soup", "bread"]}}


@pytest.fixture(scope="session")
def notebook(frame, hf, tmp_path_factory) -> dict[str, Any]:
    """The names that examples use."""
    import json

    import saeeval_core as se

    model, tokenizer = hf
    sae = tiny_sae("topk")
    folder: Path = tmp_path_factory.mktemp("notebook")
    options = {"tokenizer": tokenizer, "progress": False}
    return {
        "frame": frame,
        "model": model,
        "tokenizer": tokenizer,
        "sae": sae,
        "rows": rand(24, D_MODEL),
        "folder": folder,
        "json": json,
        "result": se.score(se.task(frame, **JOBS), model, sae, **options),
        "meals": se.score(se.task(frame, **MEALS), model, sae, ns=[2, 20], **options),
    }
