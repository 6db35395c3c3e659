"""What all sessions share: recordings, boards, scores, verdicts and the store, each loaded once per process.

No formula is here: objects of saeeval_core are loaded, cached and handed out. Without streamlit, so that jobs, reports
and tests can use it too.
"""
