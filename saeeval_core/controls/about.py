"""The names of the controls and how each is made, as the interface shows them."""

RANDOM = "random latents"
DRAWS = 20
"""Draws of the random-latents control."""
NEAREST = 20
"""Each ablated latent is replaced by one of this many latents closest to it in log(mean pooled |f| * ||D||)."""
TOP_WORDS = 20
"""Words that the deletion control takes out."""
ABOUT = {
    RANDOM: f"mean and range of {DRAWS} draws of as many other latents of the same strength, log(mean pooled f x |D|)",
    "random decoder": "the same codes, each written along a random direction of the row's length",
    "permuted decoder": "the same codes, decoder rows shuffled",
    "pca": "principal components of the pooled training residuals as latents; zero ablation sets one to its training mean",
    "residual basis": "coordinates of the residual stream as latents",
    "word deletion": f"the {TOP_WORDS} words that tell the spurious label most deleted from the texts, which are read again",
    "leace": "LEACE of the spurious label on the balanced training texts, shrunk covariance (optimal linear shrinkage)",
}
"""Control -> how it is made."""
REFERENCES = ("word deletion", "leace")
"""Controls that use the spurious label itself and no SAE: shown for comparison, but a score need not exceed them."""
