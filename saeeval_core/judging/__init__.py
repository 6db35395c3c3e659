"""Judges: a language model (Claude), the bundled model, or imported ratings; all give the same type of verdict."""
