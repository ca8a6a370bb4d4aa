"""One file per profiler, what each of them cost, and whether its capture may be believed. What the
stacks say is read in `perfkit.stacks`; what follows from it is judged in `perfkit.diagnose`.
"""
