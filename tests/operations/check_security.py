"""Runs checkov on template.yaml. Each finding must be in exceptions.json with its reason, and each exception must be needed.

    .venv-checkov/bin/python tests/operations/check_security.py          (make lint-template)
"""

import json
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHECKOV = pathlib.Path(sys.executable).parent / "checkov"

run = subprocess.run(
    [CHECKOV, "--file", "template.yaml", "--framework", "cloudformation", "--output", "json", "--skip-download"],
    cwd=ROOT, capture_output=True, text=True, env=os.environ | {"LOG_LEVEL": "CRITICAL"},
)
try:
    report = json.loads(run.stdout)
except json.JSONDecodeError:
    sys.exit(f"checkov gave no report:\n{run.stdout}{run.stderr}")
if report["summary"]["passed"] < 20 or report["summary"]["parsing_errors"]:
    sys.exit(f"checkov did not read the template: {report['summary']}")
found = {(f["check_id"], f["resource"].rsplit(".", 1)[-1]): f["check_name"] for f in report["results"]["failed_checks"]}
exceptions = json.loads((ROOT / "tests/operations/exceptions.json").read_text())
excepted = {(e["check"], resource) for e in exceptions for resource in e["resources"] if e["reason"]}
problems = [f"{resource}: {check}, {name}" for (check, resource), name in sorted(found.items()) if (check, resource) not in excepted]
problems += [f"exceptions.json: {check} does not find {resource} any more" for check, resource in sorted(excepted - set(found))]
for problem in problems:
    print(problem, file=sys.stderr)
print(f"checkov: {report['summary']['passed']} passed, {len(found)} excepted with a reason, {len(problems)} problems")
sys.exit(1 if problems else 0)
