"""Judges: a language model (Claude), the bundled one, or ratings from elsewhere, all giving the same kind of verdict."""
