#!/usr/bin/env bash
# Plays independent testers against `rollcall dev`: scim2-tester under every policy, scim-sanity under
# `standard`. Their packages come from the Python index. Ends with "N passed, N failed".
#
#     tests/conformance/testers.sh            (make testers)
#
# ROLLCALL_VENV  a virtual environment to use (default: .venv-testers, made here)
# ROLLCALL_BIN   a `rollcall` to use instead of building one
set -euo pipefail
cd "$(dirname "$0")/../.."
here=tests/conformance
venv=${ROLLCALL_VENV:-.venv-testers}
work=$(mktemp -d)
pid=

stop() {
    [ -z "$pid" ] || { kill "$pid" 2>/dev/null && wait "$pid" 2>/dev/null; } || true
    pid=
}
trap 'stop; rm -rf "$work"' EXIT

# Installed anew when the list changes.
if ! cmp -s "$here/requirements.txt" "$venv/installed.txt"; then
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements.txt"
    cp "$here/requirements.txt" "$venv/installed.txt"
fi

bin=${ROLLCALL_BIN:-}
if [ -z "$bin" ]; then
    cargo build --quiet --features cli
    bin=${CARGO_TARGET_DIR:-target}/debug/rollcall
fi

# start POLICY: a service in memory; sets base_url and key.
start() {
    # What an earlier service said is not read again.
    rm -f "$work/dev.json"
    "$bin" dev --json --in-memory --port 0 --policy "$1" >"$work/dev.json" 2>"$work/dev.log" &
    pid=$!
    local end=$((SECONDS + 30))
    until [ -s "$work/dev.json" ]; do
        if ! kill -0 "$pid" 2>/dev/null || [ "$SECONDS" -ge "$end" ]; then
            cat "$work/dev.log" >&2
            exit 1
        fi
        sleep 0.1
    done
    base_url=$(field base_url) key=$(field key)
}
field() { python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))[sys.argv[2]])' "$work/dev.json" "$1"; }

# The sums of the testers' last lines.
failures=0
play() {
    if ! "$venv/bin/python" "$@" | tee "$work/out"; then failures=$((failures + 1)); fi
    tail -n 1 "$work/out" >>"$work/lines"
}

for policy in standard strict veza; do
    start "$policy"
    play "$here/run_scim2_tester.py" "$base_url" "$key" "$policy"
    stop
done
start standard
play "$here/run_scim_sanity.py" "$venv/bin/scim-sanity" "$base_url" "$key"
stop

sed -nE 's/^.*: ([0-9]+) passed, ([0-9]+) failed.*$/\1 \2/p' "$work/lines" |
    awk -v runs="$failures" '{ p += $1; f += $2 } END { if (runs && !f) f = runs; printf "testers: %d passed, %d failed\n", p, f }'
exit $((failures > 0))
