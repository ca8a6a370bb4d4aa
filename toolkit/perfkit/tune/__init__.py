"""The tuner: space, search, evaluator, stop rule, log; and the loop that joins them.

Nothing here edits the user's tree, and nothing here knows how a build or a measurement is made:
`live.py` alone talks to those parts. Reports are made elsewhere.
"""
