#!/usr/bin/env bash
# Hands one event to one function, without API Gateway: `cargo lambda watch` plays the Lambda runtime.
#
#     tests/sam/invoke.sh events/users-list.json            (make invoke EVENT=…)
#
# The table is that of a `rollcall dev` started here, or the one that ROLLCALL_TABLE and
# AWS_ENDPOINT_URL_DYNAMODB name. The name of an event begins with the function that it goes to (authorizer,
# app-authorizer, app-read, app-manage, token, worker). All others go to scim.
# LAMBDA_PORT  where `cargo lambda watch` listens (default 9000)
set -euo pipefail
event=$(realpath "${1:?usage: tests/sam/invoke.sh events/<event>.json}")
cd "$(dirname "$0")/../.."
. tests/sam/tools.sh

port=${LAMBDA_PORT:-9000}
started=()
stop() {
    local status=$? pid
    trap - EXIT INT TERM
    for pid in "${started[@]}"; do
        kill "$pid" 2>/dev/null || continue
        wait "$pid" 2>/dev/null || true
    done
    exit "$status"
}
trap stop EXIT
trap 'exit 130' INT TERM

python_tools cargo-lambda
case $(basename "$event") in
authorizer-*) function=authorizer ;;
app-authorizer-*) function=app_authorizer ;;
app-read-*) function=app_read ;;
app-manage-*) function=app_manage ;;
token-*) function=token ;;
worker*) function=worker ;;
*) function=scim ;;
esac

if [ -z "${ROLLCALL_TABLE:-}" ]; then
    start_dev
    started+=("$dev_pid")
    export ROLLCALL_TABLE=$table AWS_ENDPOINT_URL_DYNAMODB=$endpoint
fi

# The worker is told where the application's side answers. Only messages to webhooks show it.
export ROLLCALL_APP_URL=${ROLLCALL_APP_URL:-http://127.0.0.1:3000/app/v1}

# What makes the usage keys of new tenants.
if [ "$function" = app_manage ]; then
    python3 tests/sam/usage_keys.py 127.0.0.1 >"$work/usage_keys.url" &
    started+=($!)
    wait_for 10 usage_keys.py $! grep -q . "$work/usage_keys.url"
    AWS_ENDPOINT_URL_API_GATEWAY=$(cat "$work/usage_keys.url")
    export AWS_ENDPOINT_URL_API_GATEWAY ROLLCALL_USAGE_PLAN=plan
fi

# Built before, so that the first call does not wait for it; with the features of everything else that is
# built for development, so that no dependency is built twice.
cargo build --quiet --features cli --bin "$function"
cargo lambda watch -A 127.0.0.1 -P "$port" --ignore-changes --features cli >"$work/watch.log" 2>&1 &
started+=($!)
wait_for 60 "cargo lambda watch" $! bash -c "exec 3<>/dev/tcp/127.0.0.1/$port"
cargo lambda invoke -A 127.0.0.1 -P "$port" "$function" --data-file "$event"
echo
