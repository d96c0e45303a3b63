#!/usr/bin/env bash
# Builds an older release in a work tree of its own, and lets it serve a table together with this one.
# The programs of the old release are kept in <target>/releases/<revision>.
set -euo pipefail
revision=$(git rev-parse --short=12 "$1^{commit}")
target=$2
cargo=$3
programs=$target/releases/$revision

if [ ! -e "$programs/complete" ]; then
    tree=$(mktemp -d)
    trap 'git worktree remove --force "$tree/release" || true; rm -rf "$tree"' EXIT
    git worktree add --quiet --detach "$tree/release" "$revision"
    # Crates that both releases use need not be built again.
    mkdir -p "$target/debug"
    cp -r --reflink=auto "$target" "$tree/target"
    (cd "$tree/release" && CARGO_TARGET_DIR="$tree/target" "$cargo" build --features cli --bins)
    mkdir -p "$programs"
    for program in scim authorizer worker rollcall; do
        cp "$tree/target/debug/$program" "$programs/$program"
    done
    touch "$programs/complete"
fi
OLD_BIN=$programs "$cargo" test --features cli --test suite_failures -- --nocapture side_by_side::
