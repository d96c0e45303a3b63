#!/usr/bin/env bash
# Writes a software bill of materials (CycloneDX 1.5) for the functions as they are deployed, and for each feature set
# that they are built with.
#
#     tests/operations/sbom.sh FOLDER [NAME]          (make sbom)
#
# NAME is functions, app_manage or tool. Without it, all three are written.
#
# functions.cdx.json   scim, authorizer, app_read, app_authorizer, worker (the default features)
# app_manage.cdx.json  app_manage (with usage-keys)
# pre_traffic.cdx.json pre_traffic (with pre-traffic)
# tool.cdx.json        the operator's tool (with cli)
#
# The linker leaves out of each function what it does not use, so a function has at most what its file lists.
set -euo pipefail
cd "$(dirname "$0")/../.."
out=${1:?usage: tests/operations/sbom.sh FOLDER [NAME]}
only=${2:-}
mkdir -p "$out"

write() {
    local name=$1 target=$2
    shift 2
    [ -z "$only" ] || [ "$only" = "$name" ] || return 0
    # It writes beside Cargo.toml, whatever it is asked.
    cargo cyclonedx --quiet --format json --spec-version 1.5 --no-build-deps --target "$target" \
        --override-filename "sbom-$name" "$@"
    mv "sbom-$name.json" "$out/$name.cdx.json"
    python3 - "$out/$name.cdx.json" <<'PY'
import json, sys
bom = json.load(open(sys.argv[1]))
without = [c["name"] for c in bom["components"] if not c.get("licenses")]
assert len(bom["components"]) > 50 and not without, f"{sys.argv[1]}: no licence known of {without}"
print(f"{sys.argv[1]}: {len(bom['components'])} components")
PY
}

write functions aarch64-unknown-linux-gnu
write app_manage aarch64-unknown-linux-gnu --features usage-keys
write pre_traffic aarch64-unknown-linux-gnu --features pre-traffic
write tool "$(rustc -vV | sed -n 's/^host: //p')" --features cli
