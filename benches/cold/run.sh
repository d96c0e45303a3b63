#!/usr/bin/env bash
# Builds the functions as they are deployed, and a bare one beside them. Then it measures how long they take to start.
# Needs Linux, and root to impose the processor share that Lambda gives.
#
#     benches/cold/run.sh [--runs N] [--memory MB,MB…]            (make bench-cold)
#
# ROLLCALL_LAMBDA  a folder with <binary>/bootstrap of each function, and of variants as <binary>-<variant>, to use
#                  instead of building them. Only the bare function is built then, if it is missing.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/sam/tools.sh

python_tools cargo-lambda
build_functions scim authorizer token app_read app_manage app_authorizer worker
if [ -z "${ROLLCALL_LAMBDA:-}" ] || [ ! -e "$lambda/bare_function/bootstrap" ]; then
    cargo lambda build --release --skip-target-check --features usage-keys,bench --bin bare_function --lambda-dir "$lambda"
fi
cargo bench --features cli --bench cold -- "$(realpath "$lambda")" "$@"
