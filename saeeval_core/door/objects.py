"""Models and dictionaries of a notebook: by name, or as the objects that they are there."""

from typing import TYPE_CHECKING, Any

from saeeval_core.errors import UnsupportedSAE

if TYPE_CHECKING:
    from saeeval_core.models.language_model import LanguageModel
    from saeeval_core.saes.loaded import LoadedSAE


def language_model(model: Any, tokenizer: Any = None, *, name: str = "") -> "LanguageModel":
    """A language model: its name, folder or Hub id, or an object in memory.

    Objects are those of transformers (with their tokenizer), TransformerLens's ``TransformerBridge`` and nnsight's
    ``LanguageModel``. They are not changed. An object has no folder, so its identity is a hash of its weights, settings and
    tokenizer: after another step of training it is another model. ``name`` is what it is called. ModelError where it
    cannot be used.

    >>> import saeeval_core as se
    >>> lm = se.language_model(model, tokenizer, name="tiny")
    >>> lm.n_layers, lm.d_model, lm.name
    (2, 16, 'memory:tiny-...')
    >>> se.language_model(model)
    Traceback (most recent call last):
    ...
    saeeval_core.errors.ModelError: the model comes without its tokenizer; give it too: ...
    """
    from saeeval_core.models.in_memory import from_model
    from saeeval_core.models.language_model import LanguageModel, load_model

    if isinstance(model, LanguageModel):
        return model
    return load_model(model) if isinstance(model, str) else from_model(model, tokenizer, name=name)


def dictionary(sae: Any, hook: str = "", *, rows: Any = None, read_hook: str = "", name: str = "") -> "LoadedSAE":
    """A dictionary: its name, folder or file, an object of SAELens, or any object with ``encode`` and decoder rows.

    ``hook`` is what it writes (and reads, unless ``read_hook`` says otherwise), for one that names none itself. ``rows``
    [latents, width] is what one unit of each latent adds there; left out, they are ``W_dec``, or the weight of
    ``decoder``. Every object is checked: the same codes for the same token, and a ``decode`` that adds codes times rows.
    UnsupportedSAE where it cannot be ablated exactly.

    >>> import saeeval_core as se
    >>> class Directions:
    ...     def encode(self, x):
    ...         return x @ rows.T
    >>> ica = se.dictionary(Directions(), "blocks.0.hook_resid_post", rows=rows, name="ICA")
    >>> ica.info.n_latents, ica.info.id
    (24, 'memory:ICA-...')
    >>> se.dictionary(sae).info.hook
    'blocks.0.hook_resid_post'
    """
    from sae_lens import SAE

    from saeeval_core.saes.asked import with_hooks
    from saeeval_core.saes.loaded import LoadedSAE, load_sae
    from saeeval_core.saes.objects import from_object, from_saelens, named

    if isinstance(sae, LoadedSAE):
        return sae
    if isinstance(sae, str):
        (spec,) = with_hooks([sae], hook, read_hook)
        return load_sae(spec)
    label = name or type(sae).__name__
    if isinstance(sae, SAE):
        return named(from_saelens(sae, name=label, hook=hook, read_hook=read_hook), label)
    if not hook:
        raise UnsupportedSAE(f"SAE '{label}' names no hook; give the one it writes: hook='blocks.6.hook_resid_post'")
    found = _rows(sae, label) if rows is None else rows
    device = str(getattr(found, "device", "cpu"))
    return named(from_object(sae, found, hook, name=label, read_hook=read_hook, device=device), label)


def _rows(obj: Any, label: str) -> Any:
    """Decoder rows [latents, width] under the names that libraries give them."""
    if (found := getattr(obj, "W_dec", None)) is not None:
        return found
    if (weight := getattr(getattr(obj, "decoder", None), "weight", None)) is not None:
        return weight.T
    raise UnsupportedSAE(
        f"SAE '{label}' has neither W_dec nor decoder.weight; give rows=, what one unit of each latent adds, "
        "[latents, width]"
    )
