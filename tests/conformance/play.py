#!/usr/bin/env python3
"""Plays the files below tests/cases against a deployed service.

    python3 tests/conformance/play.py --base https://…/scim/v2 --token rc_… --policy veza [--only okta/]

The tenant may hold other resources. What a case has made is deleted after it. Cases that need an empty tenant,
or a key that was not given (--read-token, --user-token), are skipped and say so.
tests/cases/README.md describes the files.
"""

import argparse
import json
import os
import pathlib
import re
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid

FORMS = {
    "any": r"(.+)",
    "text": r"(.+)",
    "id": r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})",
    "time": r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z)",
    "version": r'(W/"[^"]+")',
}
MARKERS = ("{unordered}", "{holds}", "{each}")
PLACEHOLDER = re.compile(r"\{([a-z][A-Za-z0-9_:.]*)\}")
POLICIES = ["veza", "standard", "strict"]


class Unknown(Exception):
    pass


class Skipped(Exception):
    pass


def fill(value, names):
    """Fills names in. A text that is one name alone becomes its value; forms stay."""
    if isinstance(value, dict):
        return {fill(key, names): fill(item, names) for key, item in value.items()}
    if isinstance(value, list):
        return [fill(item, names) for item in value]
    if not isinstance(value, str):
        return value
    alone = PLACEHOLDER.fullmatch(value)
    if alone and alone[1] in names:
        return names[alone[1]]

    def one(match):
        name = match[1]
        if name.split(":")[0] in FORMS or match[0] in MARKERS:
            return match[0]
        if name not in names:
            raise Unknown(f"nothing was captured as {match[0]}")
        found = names[name]
        return found if isinstance(found, str) else json.dumps(found)

    return PLACEHOLDER.sub(one, value)


def equal(expected, found):
    """JSON equality: true is not 1."""
    return type(expected) is type(found) and expected == found


def compare(expected, found, at, names):
    """Yields every difference, and captures on its way."""
    if isinstance(expected, str):
        yield from compare_text(expected, found, at, names)
    elif isinstance(expected, dict) and len(expected) == 1 and next(iter(expected)) in MARKERS:
        marker, wanted = next(iter(expected.items()))
        if marker == "{each}":
            if not isinstance(found, list) or not found:
                yield f"{at}: expected an array with elements, found {found!r}"
                return
            for index, element in enumerate(found):
                yield from compare(wanted, element, f"{at}[{index}]", names)
        elif isinstance(wanted, list) and isinstance(found, list):
            left = list(found)
            for element in wanted:
                index = next((i for i, item in enumerate(left) if matches(element, item, names)), None)
                if index is None:
                    yield f"{at}: expected an element {json.dumps(element)}, found {json.dumps(found)}"
                else:
                    yield from compare(element, left.pop(index), at, names)
            if marker == "{unordered}" and len(wanted) != len(found):
                yield f"{at}: expected {len(wanted)} elements, found {len(found)}"
        elif marker == "{holds}" and isinstance(wanted, dict) and isinstance(found, dict):
            for key, value in wanted.items():
                if key in found:
                    yield from compare(value, found[key], f"{at}.{key}", names)
                else:
                    yield f"{at}.{key}: expected {json.dumps(value)}, found nothing"
        else:
            yield f"{at}: expected {json.dumps(wanted)}, found {json.dumps(found)}"
    elif isinstance(expected, dict) and isinstance(found, dict):
        for key, value in expected.items():
            if key in found:
                yield from compare(value, found[key], f"{at}.{key}", names)
            else:
                yield f"{at}.{key}: expected {json.dumps(value)}, found nothing"
        for key in found:
            if key not in expected:
                yield f"{at}.{key}: expected nothing, found {json.dumps(found[key])}"
    elif isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        for index, (element, item) in enumerate(zip(expected, found)):
            yield from compare(element, item, f"{at}[{index}]", names)
    elif not equal(expected, found):
        yield f"{at}: expected {json.dumps(expected)}, found {json.dumps(found)}"


def matches(expected, found, names):
    return not list(compare(expected, found, "", dict(names)))


def compare_text(expected, found, at, names):
    try:
        expected = fill(expected, names)
    except Unknown as unknown:
        yield f"{at}: {unknown}"
        return
    differs = f"{at}: expected {json.dumps(expected)}, found {json.dumps(found)}"
    if not isinstance(expected, str):
        if not equal(expected, found):
            yield differs
        return
    alone = PLACEHOLDER.fullmatch(expected)
    if alone and alone[1].split(":")[0] == "any":
        if found is None:
            yield differs
        elif ":" in alone[1]:
            names[alone[1].split(":", 1)[1]] = found
        return
    if not isinstance(found, str):
        yield differs
        return
    pattern, captures, end = "", [], 0
    for match in PLACEHOLDER.finditer(expected):
        form, _, capture = match[1].partition(":")
        if form in FORMS:
            pattern += re.escape(expected[end : match.start()]) + FORMS[form]
            captures.append(capture)
            end = match.end()
    pattern += re.escape(expected[end:])
    match = re.fullmatch(pattern, found, re.DOTALL)
    if not match:
        yield differs
        return
    for index, capture in enumerate(captures):
        if capture:
            names[capture] = match[index + 1]


class Keep(urllib.request.HTTPErrorProcessor):
    """Every status is an answer."""

    def http_response(self, request, response):
        return response

    https_response = http_response


OPENER = urllib.request.build_opener(Keep)


class Play:
    def __init__(self, options):
        self.options = options
        unique = "c" + uuid.uuid4().hex[:12]
        self.names = {"unique": unique, "base": options.base}
        self.made = []

    def key(self, which):
        tokens = {"provision": self.options.token, "read": self.options.read_token, "none": ""}
        if which in tokens:
            if tokens[which] is None:
                raise Skipped(f"needs a key with the scope {which}: --{which}-token")
            return tokens[which]
        if which.startswith("user:"):
            raise Skipped("needs a key that is bound to a user of the case")
        return fill(which, self.names)

    def send(self, request):
        path = fill(request["path"], self.names)
        for name, value in request.get("query", {}).items():
            value = fill(value, self.names)
            text = value if isinstance(value, str) else json.dumps(value)
            path += ("&" if "?" in path else "?") + f"{name}={urllib.parse.quote(text, safe='')}"
        headers = {name: fill(value, self.names) for name, value in request.get("headers", {}).items()}
        data = None
        if "body" in request:
            data = json.dumps(fill(request["body"], self.names)).encode()
            if not any(name.lower() == "content-type" for name in headers):
                headers["Content-Type"] = "application/scim+json"
        elif "raw" in request:
            data = fill(request["raw"], self.names).encode()
        if "padding" in request:
            data = (data or b"") + b" " * request["padding"]
        key = self.key(request.get("key", "provision"))
        if key:
            headers["Authorization"] = f"Bearer {key}"
        for _ in range(8):
            sent = urllib.request.Request(self.options.base + path, data, headers, method=request["method"])
            if data is not None and "Content-type" not in sent.headers:
                # Without this urllib says that the body is a form.
                sent.add_unredirected_header("Content-Type", "")
            with OPENER.open(sent, timeout=60) as answer:
                body = answer.read()
                status, found = answer.status, answer.headers
            if status != 429:
                break
            time.sleep(float(found.get("Retry-After") or 1))
        if status == 201:
            self.made.append(found.get("Location"))
        return status, found, body

    def set_up(self, setup):
        if "user" in setup:
            name, path = setup["user"], "/Users"
            user_name = name + ".{unique}@example.com"
            body = {
                "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
                "userName": user_name,
                "name": {"givenName": name, "familyName": "Example"},
                "displayName": f"{name} Example",
                "emails": [{"value": user_name, "type": "work", "primary": True}],
                "active": True,
            }
        else:
            name, path = setup["group"], "/Groups"
            body = {
                "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"],
                "displayName": name + " {unique}",
            }
        for key, value in setup.get("with", {}).items():
            if value is None:
                body.pop(key, None)
            else:
                body[key] = value
        status, _, answer = self.send({"method": "POST", "path": path, "body": body})
        if status != 201:
            raise AssertionError(f"setup of {name}: {status} {answer.decode(errors='replace')}")
        resource = json.loads(answer)
        self.names[name] = resource["id"]
        self.names[f"{name}.version"] = resource["meta"]["version"]

    def step(self, step):
        status, headers, body = self.send(step["request"])
        expected = step["response"]
        differences = []
        if status != expected["status"]:
            differences.append(f"status: expected {expected['status']}, found {status}")
        for name, value in expected.get("headers", {}).items():
            if headers.get(name) is None:
                if value != "absent":
                    differences.append(f"{name}: expected {value!r}, found nothing")
            else:
                differences += compare(value, headers[name], name, self.names)
        if expected["body"] == "absent":
            if body:
                differences.append("body: expected none")
        elif not body:
            differences.append("body: found none")
        else:
            if headers.get("Content-Type") != "application/scim+json":
                differences.append(f"content-type: found {headers.get('Content-Type')!r}")
            try:
                differences += compare(expected["body"], json.loads(body), "body", self.names)
            except ValueError as error:
                differences.append(f"body: no JSON: {error}")
        hint = expected.get("hint")
        if hint and hint not in json.loads(body or b"{}").get("detail", ""):
            differences.append(f"detail: expected {hint!r} in it")
        if differences:
            text = body.decode(errors="replace")[:2000]
            raise AssertionError("\n".join(f"  {line}" for line in [*differences, f"answered {status} {text}"]))

    def clean_up(self):
        for location in reversed(self.made):
            path = (location or "").removeprefix(self.options.base)
            if path.startswith("/"):
                try:
                    self.send({"method": "DELETE", "path": path})
                except OSError:
                    pass


def play(case, options):
    if options.policy not in case.get("policies", POLICIES):
        raise Skipped(f"is not about the policy {options.policy}")
    if case.get("empty"):
        raise Skipped("needs an empty tenant")
    play = Play(options)
    try:
        for setup in case.get("setup", []):
            play.set_up(setup)
        for index, step in enumerate(case["steps"]):
            try:
                play.step(step)
            except (AssertionError, Unknown) as failed:
                request = step["request"]
                raise AssertionError(f"step {index + 1} ({request['method']} {request['path']}):\n{failed}")
    finally:
        play.clean_up()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", default=os.environ.get("BASE"), required="BASE" not in os.environ)
    parser.add_argument("--token", default=os.environ.get("TOKEN"), required="TOKEN" not in os.environ)
    parser.add_argument("--read-token", default=os.environ.get("READ_TOKEN") or None)
    parser.add_argument("--policy", default=os.environ.get("POLICY") or "veza", choices=POLICIES)
    parser.add_argument("--only", default="", help="play the files whose path has this text in it")
    options = parser.parse_args()
    options.base = options.base.rstrip("/")
    folder = pathlib.Path(__file__).resolve().parent.parent / "cases"
    played, failed, skipped = 0, [], 0
    for path in sorted(folder.rglob("*.json")):
        name = path.relative_to(folder).as_posix()
        if options.only not in name:
            continue
        try:
            play(json.loads(path.read_text("utf-8")), options)
            played += 1
        except Skipped as why:
            skipped += 1
            print(f"skipped {name}: {why}")
        except (AssertionError, OSError) as why:
            played += 1
            failed.append(name)
            print(f"FAILED  {name}: {why}")
    print(f"{played} cases played, {len(failed)} failed, {skipped} skipped")
    return 1 if failed or not played else 0


if __name__ == "__main__":
    sys.exit(main())
