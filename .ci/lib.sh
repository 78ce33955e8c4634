# Sourced by each script of this folder: strict mode, the root of the workspace as directory, and three functions.
set -euo pipefail
cd "$(dirname "$0")/.."

# Tests that panic on purpose would print backtraces.
export RUST_BACKTRACE=0
# Each check builds once: without these two settings the checks fill three times as much of the disk.
export CARGO_INCREMENTAL=0 CARGO_PROFILE_DEV_DEBUG=line-tables-only

# step COMMAND...: prints the command and runs it.
step() {
  printf '\n== %s (after %s s)\n' "$*" "$SECONDS"
  "$@"
}

# need PROGRAM PACKAGE: installs a Debian package if the program is missing.
need() {
  command -v "$1" >/dev/null || { apt-get update && apt-get install -y "$2"; }
}

# need_rust TOOLCHAIN: installs a toolchain if it is missing.
need_rust() {
  rustc "+$1" --version >/dev/null 2>&1 || rustup toolchain install "$1" --profile minimal
}
