# Read by the scripts beside it: where they work, and the tools they need.
# shellcheck shell=bash

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
work=$target/sam
mkdir -p "$work"

# The SDKs and SAM want credentials and a region; none of what follows reaches AWS.
export AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local AWS_REGION=eu-west-1 AWS_DEFAULT_REGION=eu-west-1
unset AWS_PROFILE AWS_SESSION_TOKEN
export SAM_CLI_TELEMETRY=0

say() { printf '\n== %s\n' "$*"; }
fail() { printf 'error: %s\n' "$*" >&2; exit 1; }

# python_tools PACKAGE…: a virtual environment with these (they bring no system package), first on the path.
python_tools() {
    local venv=${ROLLCALL_VENV:-$work/venv} package
    [ -x "$venv/bin/python" ] || python3 -m venv "$venv"
    export PATH=$venv/bin:$PATH
    for package in "$@"; do
        python -m pip show -q "$package" >/dev/null 2>&1 || python -m pip install -q "$package"
    done
}

# wait_for SECONDS WHAT PID COMMAND…: until COMMAND succeeds; fails when the process ends before.
wait_for() {
    local seconds=$1 what=$2 pid=$3 end
    shift 3
    end=$((SECONDS + seconds))
    until "$@" >/dev/null 2>&1; do
        kill -0 "$pid" 2>/dev/null || fail "$what ended before it was ready; see $work"
        [ "$SECONDS" -lt "$end" ] || fail "$what was not ready after $seconds seconds; see $work"
        sleep 0.3
    done
}

# What the binary of a function may have at most, in bytes. A cold start loads it (docs/performance.md, "Cold start").
size_limit=10000000

# build_functions BINARY…: builds the functions as they are deployed, for x86_64. Sets lambda to the folder that has
# <binary>/bootstrap of each: the one in ROLLCALL_LAMBDA, if there is one. Fails if a binary is too large.
build_functions() {
    local binary size large=()
    lambda=${ROLLCALL_LAMBDA:-}
    if [ -z "$lambda" ]; then
        lambda=$work/lambda
        # The features are those of all functions together, so that no dependency is built twice.
        # --skip-target-check: without it cargo-lambda may call rustup to fetch a target.
        cargo lambda build --release --skip-target-check --features usage-keys "${@/#/--bin=}" --lambda-dir "$lambda"
    fi
    for binary in "$@"; do
        size=$(stat --format=%s "$lambda/$binary/bootstrap")
        echo "$binary has $size bytes"
        [ "$size" -le "$size_limit" ] || large+=("$binary")
    done
    [ ${#large[@]} -eq 0 ] || fail "${large[*]} may have $size_limit bytes at most: find what has grown with
    cargo rustc --release --features usage-keys --bin ${large[0]} -- -C strip=none
    nm --size-sort --reverse-sort --print-size --demangle target/release/${large[0]} | head -100"
}

# start_dev: builds and starts `rollcall dev`; sets dev_pid, base_url, key, application_key, tenant, endpoint and
# table.
start_dev() {
    local dev=${ROLLCALL_BIN:-}
    if [ -z "$dev" ]; then
        cargo build --quiet --features cli --bin rollcall
        dev=$target/debug/rollcall
    fi
    # A server in memory, on a free port; its one line of JSON says where.
    "$dev" dev --json --port 0 >"$work/dev.json" 2>"$work/dev.log" &
    dev_pid=$!
    wait_for 30 "rollcall dev" "$dev_pid" grep -q . "$work/dev.json"
    field() { python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))[sys.argv[2]])' "$work/dev.json" "$1"; }
    base_url=$(field base_url) key=$(field key) application_key=$(field application_key) tenant=$(field tenant)
    endpoint=$(field dynamodb_endpoint) table=$(field table)
    export base_url key application_key tenant endpoint table
}
