"""One small file per command: arguments to settings, one engine call, one report."""
