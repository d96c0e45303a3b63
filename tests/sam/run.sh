#!/usr/bin/env bash
# Plays the same requests against `rollcall dev` and against the built functions under `sam local start-api`,
# and compares the answers, those of the application's side included. Needs Linux, Python and, where docker or debootstrap are missing, root and apt.
#
#     tests/sam/run.sh            (make sam-test)
#
# ROLLCALL_VENV    a virtual environment to use (default: target/sam/venv, made here)
# ROLLCALL_BIN     a `rollcall` to use instead of building one
# ROLLCALL_LAMBDA  a folder with <binary>/bootstrap (x86_64) of each function to use instead of building them
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
# A client without a daemon is no docker: so ask the daemon first, wherever it runs.
docker info >/dev/null 2>&1 || command -v dockerd >/dev/null || missing+=(docker.io)
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
# A container does not see the loopback interface of this machine: the table is passed on to docker's bridge.
# A daemon's first start may not name the bridge's address yet; the interface has it.
bridge=$(docker network inspect bridge --format '{{range .IPAM.Config}}{{.Gateway}}{{end}}' 2>/dev/null || true)
if [ -z "$bridge" ]; then
    bridge=$(python3 -c 'import fcntl, socket, struct
ask = struct.pack("256s", b"docker0")
print(socket.inet_ntoa(fcntl.ioctl(socket.socket(), 0x8915, ask)[20:24]))  # SIOCGIFADDR') || fail "docker has no bridge network (docker0): containers could not reach the table"
fi
echo "docker answers; its bridge is $bridge"

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
declare -A binaries=(
    [ScimFunction]=scim [AuthorizerFunction]=authorizer [WorkerFunction]=worker [TokenFunction]=token
    [AppReadFunction]=app_read [AppManageFunction]=app_manage [AppAuthorizerFunction]=app_authorizer
)
build_functions "${binaries[@]}"
# The folder that start-api runs: the template, with the built binaries in place of the sources, and with a
# variable that is no part of a deployment (start-api hands over no variable that the template does not name).
app=$work/app
rm -rf "$app"
for function in "${!binaries[@]}"; do
    mkdir -p "$app/$function"
    cp "$lambda/${binaries[$function]}/bootstrap" "$app/$function/"
done
awk '
    /^  [A-Za-z]+:$/ { resource = $1; sub(":", "", resource) }
    # They try the other functions on AWS. No route leads to them.
    resource ~ /^(PreTrafficFunction|ProbeFunction)$/ || /^ +Hooks:/ { next }
    /^ +CodeUri: \.$/ { sub(/\.$/, resource) }
    # start-api serves paths without their stage, which is oauth2 here.
    /RestApiId: !Ref OAuthApi, Path: \/token,/ { sub(/\/token,/, "/oauth2/token,") }
    /^ +ROLLCALL_TABLE:/ {
        indent = $0; sub(/ROLLCALL_TABLE:.*/, "", indent)
        print indent "AWS_ENDPOINT_URL_DYNAMODB: local"
        print indent "AWS_ENDPOINT_URL_API_GATEWAY: local"
    }
    { print }
' template.yaml >"$app/template.yaml"

say "rollcall dev"
start_dev
started+=("$dev_pid")
echo "$base_url, table $table at $endpoint"

python3 tests/sam/forward.py "$bridge" "$endpoint" >"$work/forward.url" &
started+=($!)
wait_for 10 forward.py $! grep -q . "$work/forward.url"
# Where a new tenant's usage key is made.
python3 tests/sam/usage_keys.py "$bridge" >"$work/usage_keys.url" &
started+=($!)
wait_for 10 usage_keys.py $! grep -q . "$work/usage_keys.url"

say "sam local start-api"
python3 -c 'import json, sys; print(json.dumps({"Parameters": dict(zip(sys.argv[1::2], sys.argv[2::2]))}))' \
    ROLLCALL_TABLE "$table" AWS_ENDPOINT_URL_DYNAMODB "$(cat "$work/forward.url")" \
    AWS_ENDPOINT_URL_API_GATEWAY "$(cat "$work/usage_keys.url")" >"$work/env.json"
(cd "$app" && exec sam local start-api --skip-pull-image --host 127.0.0.1 --port "$port" --warm-containers EAGER \
    --parameter-overrides Architecture=x86_64 --env-vars "$work/env.json" >"$work/start-api.log" 2>&1) &
started+=($!)
wait_for 180 "sam local start-api" $! curl -s -o /dev/null "http://127.0.0.1:$port/"

say "The same requests to both"
KEY=$key APP_KEY=$application_key TENANT=$tenant \
    python3 tests/sam/compare.py "${base_url%/scim/v2}" "http://127.0.0.1:$port"
