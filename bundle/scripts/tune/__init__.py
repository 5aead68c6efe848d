"""Searches of hyper-parameters: ``python -m scripts.tune``, or :func:`scripts.tune.search.run_search`.

Imports nothing: every process of a trial passes by here.
"""
