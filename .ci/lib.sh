# Sourced by each script of this folder: strict mode, the root of the workspace as directory, and two functions.
set -euo pipefail
cd "$(dirname "$0")/.."

# Tests that panic on purpose would print backtraces.
export RUST_BACKTRACE=0

# step COMMAND...: prints the command and runs it.
step() {
  printf '\n== %s (after %s s)\n' "$*" "$SECONDS"
  "$@"
}

# need PROGRAM PACKAGE: installs a Debian package if the program is missing.
need() {
  command -v "$1" >/dev/null || { apt-get update && apt-get install -y "$2"; }
}
