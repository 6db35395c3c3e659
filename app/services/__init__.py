"""What every session shares: recordings, boards, scores, verdicts and the store, each found or computed once a process.

Nothing here computes a score: it finds, keeps and hands out objects of saeeval_core. No streamlit, so jobs, reports and
tests use it too.
"""
