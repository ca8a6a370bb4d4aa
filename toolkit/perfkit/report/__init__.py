"""What perfkit found, as text, pictures and machine-readable documents.

The only place that writes reports. Pure functions: a record in, text or bytes out; only `finished`
knows run directories.
"""
