"""The extension under study: its copy and builds, its parameters, and the process that runs it."""
