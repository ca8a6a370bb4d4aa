"""Measuring so that the answer is true: blocks, sentinels, intervals, refusal."""
