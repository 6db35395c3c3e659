"""What the sidebar says of the SAE that is picked or typed, and files dropped in place of a path."""

import html

import streamlit as st

from app import state
from app.services import access, picked
from app.widgets import provenance
from saeeval_core.errors import SaeEvalError
from saeeval_core.saes.facts import BUNDLED, SaeFacts
from saeeval_core.saes.unpacked import SINGLE

LARGEST_ZIP = 600
"""MB of a zipped SAE: 65,536 latents of 768 values in float32 are 400."""


def label(facts: SaeFacts | None, sae: str) -> str:
    """One line of the list; what is searched as one types."""
    if facts is None:
        return sae
    said = [
        hooks(facts) if facts.where != BUNDLED and facts.hook and facts.hook not in sae else None,
        facts.architecture.removesuffix("SAE") if facts.where != BUNDLED and facts.architecture else None,
        f"{facts.n_latents:,}" if facts.n_latents else None,
        f"L0 {facts.l0:.0f}" if facts.l0 else None,
        _size(facts.gigabytes) if facts.where != BUNDLED else None,
        "not here" if facts.reason else None,
    ]
    return " · ".join([sae.removeprefix("smollm2-135m-"), *(s for s in said if s)])


def hooks(facts: SaeFacts) -> str | None:
    """What it reads and, where that is another hook, what it writes."""
    return f"{facts.hook} → {facts.writes}" if facts.writes not in (None, facts.hook) else facts.hook


def facts(sae: str, model: str, listed: bool) -> None:
    """Exact id, hooks, architecture and size, where it is, and why it cannot be scored here, if so.

    The width and L0 where the list above does not say them: of what was typed.
    Of names that stand for nothing the page says what is wrong.
    """
    try:
        picked.check_model(model)
        found, said = picked.sae_facts(sae), picked.sae_notes(sae)
    except SaeEvalError:
        return
    unknown = "hook not known before it is loaded" if "Hub" in found.where else "hook not stated"
    counted = [f"{found.n_latents:,} latents" if found.n_latents else None, _l0(found.l0)]
    numbers = [found.kind, *([] if listed else counted), _size(found.gigabytes)]
    lines = [sae, hooks(found) or unknown, ", ".join(n for n in numbers if n), found.where, *said]
    st.html("<div class='id'>" + "<br>".join(map(html.escape, filter(None, lines))) + "</div>")
    if found.reason:
        st.warning(provenance.plain(f"cannot be scored here: {found.reason}"), icon=":material/warning:")
    if not found.is_for(model):
        st.warning(
            provenance.plain(f"made for {found.model}, not for {model}: choose that model, or its scores mean nothing"),
            icon=":material/warning:",
        )


def drop() -> None:
    """Take an SAE's folder as a zip file, or a file of arrays."""
    with st.popover("SAE from a file", icon=":material/folder_zip:", width="stretch"):
        st.caption(
            "A zipped folder of SAELens, dictionary_learning, sparsify or Gemma Scope, or W_enc, b_enc, W_dec and b_dec in "
            "one .npz or .safetensors file. Kept on this machine."
        )
        off = bool(access.why_not("sending files"))
        file = st.file_uploader(
            "Zipped SAE folder or file",
            type=["zip", *(ending.removeprefix(".") for ending in SINGLE)],
            key="w_sae_zip",
            max_upload_size=LARGEST_ZIP,
            disabled=off,
        )
        hook = st.text_input(
            "Hook it writes", key="w_sae_hook", placeholder="only where its files name none", disabled=off
        )
        read = st.text_input(
            "Hook it reads", key="w_sae_read", placeholder="the same, but for transcoders", disabled=off
        )
        if not st.button("Use it", key="w_sae_zip_use", disabled=file is None or off) or file is None:
            return
        try:
            sae = picked.keep_sae(file.name, file.getvalue(), hook, read)
            picked.sae_facts(sae)
        except SaeEvalError as error:
            provenance.problem(error)
            return
    state.put(sae=sae, latent="", shift_set="mine", tpp_set="mine", cell="")
    st.rerun()


def _size(gigabytes: float | None) -> str | None:
    """Of the weights in memory."""
    if gigabytes is None:
        return None
    return f"{gigabytes:.1f} GB" if gigabytes >= 1 else f"{gigabytes * 1000:,.0f} MB"


def _l0(l0: float | None) -> str | None:
    return None if l0 is None else f"L0 {l0:.1f}"
