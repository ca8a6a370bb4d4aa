#!/bin/sh
# Stands before rustc. Writes one file per process, the arguments separated by NUL: the lines as they
# were, not as they are printed.
printf '%s\0' "$@" > "$(mktemp -p "$PERFKIT_RUSTC_LINES")"
if [ -n "$PERFKIT_INNER_WRAPPER" ]; then exec "$PERFKIT_INNER_WRAPPER" "$@"; fi
exec "$@"
