"""SHIFT and TPP scores for sparse autoencoders, exact and fast (arXiv 2411.18895).

Import by module path (``from saeeval_core.evaluation.score import score``): importing this package loads nothing heavy.
"""

__version__ = "0.1.0"
