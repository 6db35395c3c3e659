"""The names of the controls and how each is made, as the interface shows them."""

RANDOM = "random latents"
DRAWS = 20
"""Draws of the random-latents control."""
NEAREST = 20
"""Each ablated latent is replaced by one of this many latents closest to it in log(mean pooled |f| * ||D||)."""
TOP_WORDS = 20
"""Words that the deletion control takes out."""
MEANS, PROBE = "difference in means", "probe direction"
TRAINED_NULL, LEACE = "trained null", "leace"
ICA, PCA_GENERAL, ICA_GENERAL = "ica", "pca (general text)", "ica (general text)"
ABOUT = {
    RANDOM: f"mean and range of {DRAWS} draws of as many other latents of the same strength, log(mean pooled f x |D|)",
    "random decoder": "the same codes, each written along a random direction of the row's length",
    "permuted decoder": "the same codes, decoder rows shuffled",
    "pca": "principal components of the pooled training residuals as latents; zero ablation sets one to its training mean",
    PCA_GENERAL: "principal components of pooled residuals of general text as latents; zero is their mean",
    ICA: "independent components (FastICA) of the pooled training residuals as signed latents; zero is their mean",
    ICA_GENERAL: "independent components (FastICA) of pooled residuals of general text as signed latents",
    "residual basis": "coordinates of the residual stream as latents",
    MEANS: "one latent: the line through the two label means of the balanced training texts (TPP: class and others)",
    PROBE: "one latent: the weights of the probe that ranks the latents (TPP: of the class's own probe)",
    TRAINED_NULL: "an SAE trained like the others on the same activations, with a random decoder that was frozen",
    "word deletion": f"the {TOP_WORDS} words that tell the spurious label most deleted from the texts, which are read again",
    LEACE: "LEACE of the spurious label on the balanced training texts, shrunk covariance (optimal linear shrinkage)",
}
"""Control -> how it is made."""
REFERENCES = ("word deletion", LEACE, MEANS, PROBE)
"""Controls that use the label itself and no SAE: shown for comparison, but a score need not exceed them."""
RIVALS = ("pca", PCA_GENERAL, ICA, ICA_GENERAL, "residual basis", MEANS, PROBE, TRAINED_NULL)
"""Other dictionaries, which cost no training or no features: a score's words name those it beats and those that beat it."""
OWN = (RANDOM, "random decoder", "permuted decoder")
"""Controls made from the SAE itself, which a score's words name in the same way."""
BOUNDS = (MEANS, LEACE)
"""Edits that know the label: what a dictionary could reach at best."""
