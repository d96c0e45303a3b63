#!/usr/bin/env python3
"""Writes a table of a release as JSON, for tests/upgrade.rs.

    make_table.py TARGET/releases/REVISION/rollcall > tests/fixtures/table-REVISION.json

It runs `rollcall dev` of that release, does what identity providers and operators do, and prints the items. Times are
those of the run, so the test may not depend on them. The keys are of this table alone.
"""

import json
import subprocess
import sys
import time
import urllib.request

PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
tool = sys.argv[1]
dev = subprocess.Popen([tool, "dev", "--json", "--in-memory", "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
shown = json.loads(dev.stdout.readline())


def call(url, method, body, headers):
    request = urllib.request.Request(url, json.dumps(body).encode() if body is not None else None, headers, method=method)
    with urllib.request.urlopen(request) as answer:
        text = answer.read()
    return json.loads(text) if text else None


def scim(method, path, body=None):
    headers = {"Authorization": f"Bearer {shown['key']}", "Content-Type": "application/scim+json"}
    return call(shown["base_url"] + path, method, body, headers)


def table(operation, body):
    headers = {"X-Amz-Target": f"DynamoDB_20120810.{operation}", "Content-Type": "application/x-amz-json-1.0", "X-Amz-Date": "20260101T000000Z",
               "Authorization": "AWS4-HMAC-SHA256 Credential=local/20260101/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=0"}
    return call(shown["dynamodb_endpoint"], "POST", {"TableName": shown["table"], **body}, headers)


def run(*words):
    command = [tool, *words, "--table", shown["table"], "--endpoint-url", shown["dynamodb_endpoint"], "--json"]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def user(name):
    email = f"{name}@example.com"
    return {"schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": email, "externalId": f"ext-{name}",
            "name": {"givenName": "Given", "familyName": name}, "displayName": name, "active": True,
            "emails": [{"value": email, "type": "work", "primary": True}]}


def patch(path, op, attribute, value):
    return scim("PATCH", path, {"schemas": [PATCH], "Operations": [{"op": op, "path": attribute, "value": value}]})


def members(chosen):
    return [{"value": one} for one in chosen]


try:
    ids = [scim("POST", "/Users", user(name))["id"] for name in [f"u{number}" for number in range(50)] + ["straße"]]
    patch(f"/Users/{ids[0]}", "add", "title", "Chief")
    patch(f"/Users/{ids[1]}", "replace", "active", False)
    team = scim("POST", "/Groups", {"displayName": "Team", "members": members(ids[:5])})["id"]
    scim("POST", "/Groups", {"displayName": "Large", "members": members(ids)})
    nested = scim("POST", "/Groups", {"displayName": "Nested", "members": members([team])})["id"]
    scim("DELETE", f"/Users/{ids[2]}")
    scim("DELETE", f"/Groups/{nested}")
    run("group", "assign", "demo", team, "--role", "reviewer")
    run("webhook", "create", "https://app.example.com/hook")
    rotated = run("key", "create", "demo", "--name", "Okta", "--expires", "3000d")
    cursor = scim("GET", "/Users?count=10&cursor=")["nextCursor"]
    scim("GET", "/Users?count=10&startIndex=11")
    time.sleep(3)  # until the feed has everything
    late = run("user", "create", "demo", "--email", "late@example.com", "--given-name", "La", "--family-name", "Te")["id"]
    status = call(shown["app_url"] + "/status", "GET", None, {"Authorization": f"Bearer {shown['application_key']}"})
    items, start = [], {}
    while True:
        page = table("Scan", start)
        items += page["Items"]
        if "LastEvaluatedKey" not in page:
            break
        start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}
    items.sort(key=lambda item: (item["pk"]["S"], item["sk"]["S"]))
    kept = {"key": shown["key"], "applicationKey": shown["application_key"], "okta": rotated["key"], "cursor": cursor,
            "position": status["newest"]["position"], "users": ids, "team": team, "late": late}
    print(json.dumps({"kept": kept, "items": items}, separators=(",", ":"), ensure_ascii=False))
finally:
    dev.terminate()
