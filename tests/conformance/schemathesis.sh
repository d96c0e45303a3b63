#!/usr/bin/env bash
# Plays requests made from the OpenAPI document against `rollcall dev`: no answer is a fault, and every answer
# is in the document (status, media type, headers, body). The same seed makes the same requests.
#
#   tests/conformance/schemathesis.sh [POLICY…]        veza and strict, unless others are named
#
# VENV, SEED and EXAMPLES (of each operation) in the environment change what their names say; ROLLCALL is a
# built binary to use instead of building one.
set -euo pipefail
cd "$(dirname "$0")/../.."

venv=${VENV:-.venv-schemathesis}
if [ ! -x "$venv/bin/schemathesis" ]; then
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet schemathesis==4.32.5
fi
rollcall=${ROLLCALL:-}
if [ -z "$rollcall" ]; then
    cargo build --quiet --features cli --bin rollcall
    rollcall=${CARGO_TARGET_DIR:-target}/debug/rollcall
fi

work=$(mktemp -d)
server=
stop() { if [ -n "$server" ]; then kill "$server" 2>/dev/null && wait "$server" 2>/dev/null || true; fi; server=; }
trap 'stop; rm -rf "$work"' EXIT
field() { python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))[sys.argv[2]])' "$work/$1" "$2"; }

[ $# -gt 0 ] || set -- veza strict
failed=0
for policy; do
    "$rollcall" openapi --policy "$policy" --to "$work/openapi.json"
    [ "$policy" != veza ] || cmp docs/openapi.json "$work/openapi.json"
    "$rollcall" dev --json --in-memory --port 0 --policy "$policy" >"$work/session" 2>"$work/log" &
    server=$!
    for _ in $(seq 100); do [ -s "$work/session" ] && break; sleep 0.1; done
    base=$(field session base_url)

    # A user and a group to change, and a key of the user, so that /Me is somebody.
    name="schemathesis@example.com"
    post() {
        curl --silent --fail "$base/$1" --header "Authorization: Bearer $(field session key)" \
            --header "Content-Type: application/scim+json" --data @-
    }
    post Users >"$work/user" <<JSON
{ "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": "$name", "displayName": "S",
  "name": { "givenName": "S", "familyName": "S" }, "emails": [{ "value": "$name", "primary": true }] }
JSON
    USER_ID=$(field user id)
    post Groups >"$work/group" <<JSON
{ "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"], "displayName": "S", "members": [{ "value": "$USER_ID" }] }
JSON
    GROUP_ID=$(field group id)
    export USER_ID GROUP_ID
    "$rollcall" key create "$(field session tenant)" --name schemathesis --user "$USER_ID" --json \
        --table "$(field session table)" --endpoint-url "$(field session dynamodb_endpoint)" >"$work/key"

    "$rollcall" client create "$(field session tenant)" --name schemathesis --json \
        --table "$(field session table)" --endpoint-url "$(field session dynamodb_endpoint)" >"$work/client"
    CLIENT_ID=$(field client clientId) CLIENT_SECRET=$(field client clientSecret)
    basic=$(printf '%s:%s' "$CLIENT_ID" "$CLIENT_SECRET" | base64 --wrap=0)
    export CLIENT_ID CLIENT_SECRET

    play() {
        "$venv/bin/schemathesis" --config-file tests/conformance/schemathesis.toml run "$work/openapi.json" \
            --seed "${SEED:-7644}" --max-examples "${EXAMPLES:-12}" "$@" || failed=1
    }
    echo "policy $policy"
    play --url "$base" --header "Authorization: Bearer $(field key key)" --exclude-operation-id token
    # The token endpoint is on a server of its own. A client authenticates in the body, or by the header. A parameter
    # without a value counts as absent.
    token=(--url "${base%/scim/v2}" --include-operation-id token --phases examples,coverage,fuzzing)
    play "${token[@]}"
    CLIENT_SECRET='' play "${token[@]}" --header "Authorization: Basic $basic"
    if ! kill -0 "$server" 2>/dev/null || grep -i panicked "$work/log"; then
        echo "the server did not live to see the end" >&2
        failed=1
    fi
    stop
done
exit "$failed"
