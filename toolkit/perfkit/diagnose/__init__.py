"""The independent estimators of the split, their agreement, the size model and the findings.

What measures and what profiles is below; what tunes by a recommendation is above.
"""
