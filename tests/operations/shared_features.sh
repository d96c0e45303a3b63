#!/usr/bin/env bash
# The tool and its tests share what they are built on: no dependency of the tests gives a crate of the tool other features.
# Otherwise nearly everything is built twice.
set -euo pipefail
cd "$(dirname "$0")/../.."

crates() {
    cargo tree --locked --features cli --edges "$1" --prefix none --format '{p} with {f}' | sed 's/ (\*)$//' | sort -u
}
differ=$(comm -23 <(crates normal,build) <(crates normal,build,dev))
[ -z "$differ" ] || {
    echo "In tests, these crates have other features. Add the missing ones to the feature cli in Cargo.toml:" >&2
    echo "$differ" >&2
    exit 1
}
