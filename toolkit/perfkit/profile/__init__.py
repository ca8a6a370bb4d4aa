"""One file per profiler, what each of them cost, and what is doubtful about its capture. What the
stacks say is read in `perfkit.stacks`; what follows from it is judged in `perfkit.diagnose`.
"""
