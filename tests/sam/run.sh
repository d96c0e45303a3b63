#!/usr/bin/env bash
# Plays the same requests against `rollcall dev` and against the built functions under `sam local start-api`,
# and compares the answers. Needs Linux, Python and, where docker or debootstrap are missing, root and apt.
#
#     tests/sam/run.sh            (make sam-test)
#
# ROLLCALL_VENV    a virtual environment to use (default: target/sam/venv, made here)
# ROLLCALL_BIN     a `rollcall` to use instead of building one
# ROLLCALL_LAMBDA  a folder with {scim,authorizer,worker}/bootstrap (x86_64) to use instead of building them
# SAM_PORT         where start-api listens (default 3100)
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/sam/tools.sh

port=${SAM_PORT:-3100}
image=public.ecr.aws/lambda/provided:al2023
started=()

stop() {
    local status=$? pid index
    trap - EXIT INT TERM
    # The last started first: start-api removes its containers before the docker daemon goes.
    for ((index = ${#started[@]} - 1; index >= 0; index--)); do
        pid=${started[index]}
        kill "$pid" 2>/dev/null || continue
        wait "$pid" 2>/dev/null || true
    done
    exit "$status"
}
trap stop EXIT
trap 'exit 130' INT TERM

say "Tools"
missing=()
command -v dockerd >/dev/null || command -v docker >/dev/null || missing+=(docker.io)
command -v debootstrap >/dev/null || missing+=(debootstrap)
if [ ${#missing[@]} -gt 0 ]; then
    [ "$(id -u)" = 0 ] || fail "install ${missing[*]} first: sudo apt-get install ${missing[*]}"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${missing[@]}"
fi
python_tools aws-sam-cli cargo-lambda
sam --version
cargo lambda --version

say "Docker"
if ! docker info >/dev/null 2>&1; then
    [ "$(id -u)" = 0 ] || fail "docker does not answer: start it, and let this user use it"
    dockerd >"$work/dockerd.log" 2>&1 &
    started+=($!)
    wait_for 60 dockerd $! docker info
fi
# start-api wants the image of the Lambda runtime. Where it is not there, a small Debian stands in under its
# name: the binaries bring their own runtime, and start-api puts its runtime emulator into the image.
if ! docker image inspect "$image" >/dev/null 2>&1; then
    [ "$(id -u)" = 0 ] || fail "no image $image: docker pull $image, or run this as root"
    rm -rf "$work/rootfs"
    debootstrap --variant=minbase --include=ca-certificates bookworm "$work/rootfs" >"$work/debootstrap.log"
    tar -C "$work/rootfs" -c . | docker import - "$image"
    rm -rf "$work/rootfs"
fi
docker tag "$image" "$image-x86_64"
docker images public.ecr.aws/lambda/provided

say "Functions"
# --skip-target-check: without it cargo-lambda may call rustup to fetch a target.
lambda=${ROLLCALL_LAMBDA:-}
if [ -z "$lambda" ]; then
    lambda=$work/lambda
    cargo lambda build --release --skip-target-check --bin scim --bin authorizer --bin worker \
        --lambda-dir "$lambda"
fi
# The folder that start-api runs: the template, with the built binaries in place of the sources, and with a
# variable that is no part of a deployment (start-api hands over no variable that the template does not name).
app=$work/app
rm -rf "$app"
mkdir -p "$app/ScimFunction" "$app/AuthorizerFunction" "$app/WorkerFunction"
cp "$lambda/scim/bootstrap" "$app/ScimFunction/"
cp "$lambda/authorizer/bootstrap" "$app/AuthorizerFunction/"
cp "$lambda/worker/bootstrap" "$app/WorkerFunction/"
awk '
    /^  [A-Za-z]+:$/ { resource = $1; sub(":", "", resource) }
    /^ +CodeUri: \.$/ { sub(/\.$/, resource) }
    /^ +ROLLCALL_TABLE:/ { line = $0; sub(/ROLLCALL_TABLE:.*/, "AWS_ENDPOINT_URL_DYNAMODB: local", line); print line }
    { print }
' template.yaml >"$app/template.yaml"

say "rollcall dev"
start_dev
started+=("$dev_pid")
echo "$base_url, table $table at $endpoint"

# A container does not see the loopback interface of this machine: the table is passed on to docker's bridge.
bridge=$(docker network inspect bridge --format '{{(index .IPAM.Config 0).Gateway}}')
python3 tests/sam/forward.py "$bridge" "$endpoint" >"$work/forward.url" &
started+=($!)
wait_for 10 forward.py $! grep -q . "$work/forward.url"

say "sam local start-api"
python3 -c 'import json, sys; print(json.dumps({"Parameters": dict(zip(sys.argv[1::2], sys.argv[2::2]))}))' \
    ROLLCALL_TABLE "$table" AWS_ENDPOINT_URL_DYNAMODB "$(cat "$work/forward.url")" >"$work/env.json"
(cd "$app" && exec sam local start-api --skip-pull-image --host 127.0.0.1 --port "$port" --warm-containers EAGER \
    --parameter-overrides Architecture=x86_64 --env-vars "$work/env.json" >"$work/start-api.log" 2>&1) &
started+=($!)
wait_for 180 "sam local start-api" $! curl -s -o /dev/null "http://127.0.0.1:$port/"

say "The same requests to both"
python3 tests/sam/compare.py "$base_url" "http://127.0.0.1:$port/scim/v2" "$key"
