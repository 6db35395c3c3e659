"""A set of latents as a steering hook: the files of ``saeeval steer`` in one ZIP."""

import io
import tempfile
import zipfile
from pathlib import Path

from app.jobs import live_model
from app.services import scoring
from app.services.loading import Loaded
from saeeval_core.evaluation.boards import Direction


def zipped(loaded: Loaded, direction: Direction, ids: tuple[int, ...], ablation: str) -> bytes:
    """steering_hook.py and set.safetensors; model and SAE are loaded where they are not in memory.

    SaeEvalError where one of them cannot be loaded or the SAE cannot be written as a hook.
    """
    # They need torch, which opening the lab does not.
    from saeeval_core.holding.export import export_hook
    from saeeval_core.holding.follow import AskedSet, edit_of

    asked = AskedSet(direction, ids, ablation, scoring.live_part(loaded))
    with live_model.borrowed(loaded) as (model, sae), tempfile.TemporaryDirectory() as folder:
        edit = edit_of(model, sae, scoring.evaluation(loaded), loaded.latents, asked)
        about = {"model": model.name, "sae": sae.info.id, "ablation": ablation, "pair": direction.name}
        files = export_hook(model, edit, Path(folder), about)
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in files:
                archive.write(path, path.name)
        return out.getvalue()
