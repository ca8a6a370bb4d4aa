"""Stacks as data: folded files to tables and layers, differences, exports. No profiler is started
here, and nothing here knows which profiler wrote a stack.
"""
