"""Byte histograms of text."""

from textstats._native import build_info, byte_histogram, byte_histogram_twin, parts

__all__ = ["build_info", "byte_histogram", "byte_histogram_twin", "parts"]
