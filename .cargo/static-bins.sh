#!/usr/bin/env bash
# Cargo calls this as `static-bins.sh rustc ARGS…` for the workspace's own crates. Binaries are linked with +crt-static;
# as a plain rustflag it would reach the proc macros too, which cannot be static on the gnu target (docs/decisions/0003).
# Bash, because dash drops variables whose names have a hyphen, such as CARGO_BIN_EXE_host-device.
case " $* " in
*" --crate-name ___ "*) exec "$@" ;; # cargo asking what the target can do
*" --crate-type bin "*) exec "$@" -C target-feature=+crt-static ;;
*) exec "$@" ;;
esac
