#!/bin/sh
# Stands before cargo. Cargo's messages reach maturin on a pipe; this puts a copy of them into a file.
# `CARGO` itself is taken away again, because cargo would hand it on to build scripts.
unset CARGO
if [ "$1" != rustc ]; then exec "$PERFKIT_CARGO" "$@"; fi
exec 4>&1
status=$( { { "$PERFKIT_CARGO" "$@" 4>&- ; echo $? >&3; } | tee "$PERFKIT_MESSAGES" >&4; } 3>&1 )
exit "$status"
