"""compare.py DEV SAM KEY: plays STEPS against two base URLs and compares the answers, step by step.

Answers are the same when status, content type, Location, ETag and body are, once ids, times and base URLs have
been replaced by names. Both run on one table, so each has names of its own ({tag}). What the gateways
answer without the functions differs by nature: `sam local` has no gateway responses, hence plain bodies, and 403
where a deployed API answers a refused key with 401 (template.yaml, ACCESS_DENIED).
"""

import json
import re
import sys
import urllib.error
import urllib.parse
import urllib.request

DEV, SAM, KEY = sys.argv[1:]
SCIM = "application/scim+json"
MESSAGE = "urn:ietf:params:scim:api:messages:2.0:"
CORE = "urn:ietf:params:scim:schemas:core:2.0:"

MAIL = "bjensen.{tag}@example.com"
USER = {
    "schemas": [CORE + "User"],
    "userName": MAIL,
    "externalId": "701984-{tag}",
    "name": {"givenName": "Barbara", "familyName": "Jensen"},
    "displayName": "Barbara Jensen",
    "emails": [{"value": MAIL, "type": "work", "primary": True}],
}
GROUP = {"schemas": [CORE + "Group"], "displayName": "Guides {tag}", "members": [{"value": "{user}"}]}


def patch(*operations):
    return {"schemas": [MESSAGE + "PatchOp"], "Operations": list(operations)}


def filtered(expression):
    return "?" + urllib.parse.urlencode({"filter": expression})


WRONG = KEY[:-10] + ("A" if KEY[-10] != "A" else "B") + KEY[-9:]
NONE = {"authorization": None}
# about, method, path, body, status, and what else: headers to send, the name of the id to keep
STEPS = [
    ("no key", "GET", "/Users", None, 401, {"headers": NONE}),
    ("malformed key", "GET", "/Users", None, 401, {"headers": {"authorization": "Bearer nonsense"}}),
    ("wrong key", "GET", "/Users", None, 401, {"headers": {"authorization": "Bearer " + WRONG}}),
    ("scheme in any case", "GET", "/Users" + filtered('userName eq "{tag}"'), None, 200, {"headers": {"authorization": "bEARER  " + KEY}}),
    ("discovery", "GET", "/ServiceProviderConfig", None, 200, {}),
    ("schema by URN", "GET", f"/Schemas/{CORE}User", None, 200, {}),
    ("create user", "POST", "/Users", USER, 201, {"keep": "user"}),
    ("taken userName", "POST", "/Users", {**USER, "userName": MAIL.upper().replace("{TAG}", "{tag}")}, 409, {}),
    ("read user", "GET", "/Users/{user}", None, 200, {}),
    ("filter", "GET", "/Users" + filtered(f'userName eq "{MAIL}"'), None, 200, {}),
    ("modify user", "PATCH", "/Users/{user}", patch({"op": "replace", "path": "title", "value": "Guide"}), 200, {}),
    ("replace user", "PUT", "/Users/{user}", {**USER, "displayName": "Babs Jensen"}, 200, {}),
    ("stale version", "PUT", "/Users/{user}", USER, 412, {"headers": {"if-match": 'W/"0"'}}),
    ("create group", "POST", "/Groups", GROUP, 201, {"keep": "group"}),
    ("group by name", "GET", "/Groups" + filtered('displayName eq "guides {tag}"'), None, 200, {}),
    ("user in group", "GET", "/Users/{user}", None, 200, {}),
    ("remove member", "PATCH", "/Groups/{group}", patch({"op": "remove", "path": 'members[value eq "{user}"]'}), 200, {}),
    ("add member", "PATCH", "/Groups/{group}", patch({"op": "add", "path": "members", "value": [{"value": "{user}"}]}), 200, {}),
    ("delete group", "DELETE", "/Groups/{group}", None, 204, {}),
    ("deactivate", "PATCH", "/Users/{user}", patch({"op": "Replace", "path": "active", "value": "False"}), 200, {}),
    ("delete user", "DELETE", "/Users/{user}", None, 204, {}),
    ("gone", "GET", "/Users/{user}", None, 404, {}),
    ("unknown path", "GET", "/Devices", None, 404, {}),
    ("base path", "GET", "", None, 404, {}),
    ("method", "PUT", "/Users", USER, 405, {}),
    ("media type", "POST", "/Users", USER, 415, {"headers": {"content-type": "text/xml"}}),
    ("not JSON", "POST", "/Users", '{"schemas": [', 400, {}),
]


class Side:
    """One of the two: its base URL, its names, and the ids that it made."""

    def __init__(self, base, tag):
        self.base, self.tag, self.ids = base, tag, {}

    def fill(self, text):
        for name, value in {"tag": self.tag, **self.ids}.items():
            text = text.replace("{%s}" % name, value)
        return text

    def send(self, method, path, body, headers):
        data = body if body is None or isinstance(body, str) else json.dumps(body)
        # The query is encoded before its names are filled in.
        path = path.replace("%7B", "{").replace("%7D", "}")
        request = urllib.request.Request(
            self.base + urllib.parse.quote(self.fill(path), safe="/?&=%+:.*"),
            method=method, data=None if data is None else self.fill(data).encode())
        sent = {"authorization": "Bearer " + KEY, "accept": SCIM, **({"content-type": SCIM} if data else {}), **headers}
        for name, value in sent.items():
            if value is not None:
                request.add_header(name, value)
        try:
            answer = urllib.request.urlopen(request, timeout=60)
        except urllib.error.HTTPError as refused:
            answer = refused
        with answer:
            return answer.status, answer.headers, answer.read().decode()

    def named(self, text):
        """`text` without what the server makes up."""
        text = re.sub(r"https?://[^/\"]+(/prod)?/scim/v2", "{base}", text or "")
        for name, value in self.ids.items():
            text = text.replace(value, "{%s}" % name)
        text = re.sub(re.escape(self.tag), "{tag}", text, flags=re.IGNORECASE)
        return re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "{time}", text)

    def play(self, method, path, body, extra):
        status, headers, text = self.send(method, path, body, extra.get("headers", {}))
        if "keep" in extra and status < 300:
            self.ids[extra["keep"]] = json.loads(text).get("id", "none")
        answer = {"status": status, "location": self.named(headers.get("location")), "etag": self.named(headers.get("etag"))}
        if text:
            answer["content-type"] = headers.get("content-type")
            answer["body"] = json.loads(self.named(text))
        return answer


def differences(about, expected, dev, sam):
    if about in ("no key", "malformed key", "wrong key"):
        if dev["status"] != expected or dev["content-type"] != SCIM:
            yield f"dev: {dev}"
        if sam["status"] not in ((403,) if about == "wrong key" else (401,)):
            yield f"sam: {sam}"
        return
    if dev["status"] != expected:
        yield f"status {dev['status']}, expected {expected}: {dev.get('body')}"
    for part in dev.keys() | sam.keys():
        if dev.get(part) != sam.get(part):
            yield f"{part}\n    dev {json.dumps(dev.get(part))}\n    sam {json.dumps(sam.get(part))}"


def main():
    dev, sam, wrong = Side(DEV, "viadev"), Side(SAM, "viasam"), 0
    for about, method, path, body, expected, extra in STEPS:
        answers = [side.play(method, path, body, extra) for side in (dev, sam)]
        found = list(differences(about, expected, *answers))
        wrong += bool(found)
        print(f"{'DIFF' if found else 'same'}  {answers[0]['status']} {answers[1]['status']}  {method:6} {path.split('?')[0] or '/'}  ({about})")
        for difference in found:
            print(f"  {difference[:2000]}")
    print(f"\n{len(STEPS)} requests, {wrong} answered differently")
    sys.exit(1 if wrong else 0)


main()
