"""run_scim_sanity.py SCIM-SANITY BASE KEY: scim-sanity's CRUD probe against a service under `standard`.

One of its checks must fail, by its name: it adds the member "fake-member-id", which does not exist, and wants
200. Rollcall checks that members exist, so that no group holds who was never there. Its Agent checks
do not apply; they must be the only ones that it skips.
"""

import json
import subprocess
import sys

PROBE, BASE, KEY = sys.argv[1:]
MUST_FAIL = {"PATCH /Groups/{id} add member"}


def main():
    command = [PROBE, "probe", BASE, "--token", KEY, "--json-output", "--i-accept-side-effects"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        results = json.loads(run.stdout)["results"]
    except (ValueError, KeyError):
        sys.exit(f"scim-sanity gave no results: {run.stdout}{run.stderr}")
    passed = failed = skipped = 0
    for result in results:
        name, status = result["name"], result["status"]
        text = f"{name}: {status} {result.get('message', '')}"
        if status == "skip" and "Agent" in name:
            skipped += 1
        elif name in MUST_FAIL and status == "fail" and "got 400" in result.get("message", ""):
            passed += 1
            print(f"by design  {text}")
        elif name not in MUST_FAIL and status == "pass":
            passed += 1
        else:
            failed += 1
            print(f"FAILED  {text}")
    missing = MUST_FAIL - {result["name"] for result in results}
    for name in missing:
        failed += 1
        print(f"FAILED  {name}: not run")
    print(f"scim-sanity, standard: {passed} passed, {failed} failed ({skipped} skipped)")
    sys.exit(1 if failed or passed < 20 else 0)


main()
