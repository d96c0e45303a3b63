#!/usr/bin/env bash
# Starts `rollcall dev` in memory and the example, and prints the example's URL. Ctrl-C stops both.
#
# ROLLCALL_BIN  a built `rollcall`
# PYTHON        a Python with requirements.txt installed
# PORT          the example's port (default: 8000); the others are in README.md
set -euo pipefail
cd "$(dirname "$0")"
python=${PYTHON:-python3}
work=$(mktemp -d)
pids=()
trap 'kill "${pids[@]}" 2>/dev/null || true; wait; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

"${ROLLCALL_BIN:?Set ROLLCALL_BIN to a built rollcall.}" dev --json --in-memory --port 0 >"$work/line" 2>"$work/log" &
pids+=($!)
for _ in $(seq 300); do
    [ ! -s "$work/line" ] || break
    kill -0 "${pids[0]}" 2>/dev/null || { cat "$work/log" >&2; exit 1; }
    sleep 0.1
done
field() { "$python" -c 'import json, sys; print(json.load(open(sys.argv[1]))[sys.argv[2]])' "$work/line" "$1"; }
ROLLCALL_APP_URL=$(field app_url)
ROLLCALL_APPLICATION_KEY=$(field application_key)
ROLLCALL_SCIM_URL=$(field base_url)
key=$(field key)
export ROLLCALL_APP_URL ROLLCALL_APPLICATION_KEY ROLLCALL_SCIM_URL

# The tables of an earlier run belong to a Rollcall that is gone.
export DATABASE_FILE=${DATABASE_FILE:-$work/team-directory.db}
cat <<TEXT
Log in as the administrator: tenant demo, user name break-glass@demo.invalid
Play the identity provider: paste these lines into another terminal. KEY may also be a key that you make under Settings.
  BASE=$ROLLCALL_SCIM_URL
  KEY=$key
A person arrives:
  ID=\$(curl -s -H "Authorization: Bearer \$KEY" -H 'Content-Type: application/scim+json' \$BASE/Users -d '{
    "userName": "bjensen@example.com", "name": { "givenName": "Barbara", "familyName": "Jensen" },
    "displayName": "Barbara Jensen", "emails": [{ "value": "bjensen@example.com", "primary": true }] }' |
    tee /dev/stderr | grep -o '"id":"[^"]*' | head -n 1 | cut -c 7-)
The person leaves:
  curl -s -X PATCH -H "Authorization: Bearer \$KEY" -H 'Content-Type: application/scim+json' \$BASE/Users/\$ID -d '{
    "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
    "Operations": [{ "op": "replace", "path": "active", "value": false }] }'
The example:
TEXT
"$python" app.py &
pids+=($!)
wait "${pids[1]}"
