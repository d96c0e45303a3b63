"""compare.py DEV SAM: plays STEPS against two servers and compares the answers, step by step. The environment has
the keys (KEY, APP_KEY) and the name of the tenant (TENANT). It plays the token endpoint with a client that the
application's side has made.

Answers are the same when status, content type, Location, ETag and body are, once ids, times and base URLs have
been replaced by names. Both run on one table, so each has names of its own ({tag}). What the gateways
answer without the functions differs by nature: `sam local` has no gateway responses, hence plain bodies, and 403
where a deployed API answers a refused key with 401 (template.yaml, ACCESS_DENIED).
"""

import json
import os
import re
import sys
import urllib.error
import urllib.parse
import urllib.request

DEV, SAM = sys.argv[1:]
KEY, APP_KEY, TENANT = (os.environ[name] for name in ("KEY", "APP_KEY", "TENANT"))
SCIM, JSON, PROBLEM = "application/scim+json", "application/json", "application/problem+json"
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


def wrong(key):
    return {"authorization": "Bearer " + key[:-10] + ("A" if key[-10] != "A" else "B") + key[-9:]}


NONE = {"authorization": None}
NONSENSE = {"authorization": "Bearer nonsense"}
# about, method, path, body, status, and what else: headers to send, the name of the id to keep
STEPS = [
    ("no key", "GET", "/Users", None, 401, {"headers": NONE}),
    ("malformed key", "GET", "/Users", None, 401, {"headers": NONSENSE}),
    ("wrong key", "GET", "/Users", None, 401, {"headers": wrong(KEY)}),
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
    ("a person", "POST", "/Users", USER, 201, {"keep": "person"}),
    ("a team", "POST", "/Groups", {**GROUP, "members": [{"value": "{person}"}]}, 201, {"keep": "team"}),
]
# The same for the application's side.
HERE = f"/tenants/{TENANT}"
NEW_TENANT = {"tenant": "{tag}", "policy": "standard", "adminEmail": "admin@example.com"}
APP_STEPS = [
    ("no key", "GET", "/tenants", None, 401, {"headers": NONE}),
    ("malformed key", "GET", "/tenants", None, 401, {"headers": NONSENSE}),
    ("a tenant's key", "GET", "/tenants", None, 401, {"headers": {"authorization": "Bearer " + KEY}}),
    ("wrong key", "GET", "/tenants", None, 401, {"headers": wrong(APP_KEY)}),
    ("tenants", "GET", "/tenants?limit=1", None, 200, {}),
    ("tenant", "GET", HERE, None, 200, {}),
    ("create tenant", "POST", "/tenants", NEW_TENANT, 201, {}),
    ("the same again", "POST", "/tenants", NEW_TENANT, 200, {}),
    ("other content", "POST", "/tenants", {**NEW_TENANT, "policy": "strict"}, 409, {}),
    ("settings", "PATCH", "/tenants/{tag}", {"retentionDays": 10}, 200, {}),
    ("create key", "POST", "/tenants/{tag}/keys", {"name": "Okta"}, 201, {"keep": "key"}),
    ("rotate key", "POST", "/tenants/{tag}/keys/{key}/rotate", {"overlapSeconds": 60}, 201, {}),
    ("revoke key", "DELETE", "/tenants/{tag}/keys/{key}", None, 204, {}),
    ("create client", "POST", HERE + "/clients", {"name": "Entra {tag}"}, 201, {"keep": "client"}),
    ("user", "GET", HERE + "/Users/{person}", None, 200, {}),
    ("filter", "GET", HERE + "/Users" + filtered(f'userName eq "{MAIL}"'), None, 200, {}),
    ("group", "GET", HERE + "/Groups/{team}", None, 200, {}),
    ("members", "GET", HERE + "/Groups/{team}/members", None, 200, {}),
    ("assignments", "PUT", HERE + "/Groups/{team}/assignments", {"assignments": [{"team": "{team}", "role": "guide"}]}, 200, {}),
    ("roles follow", "GET", HERE + "/Users/{person}", None, 200, {}),
    ("changes", "GET", "/changes?limit=2&include=resource", None, 200, {}),
    ("no position", "GET", "/changes?after=nonsense", None, 400, {}),
    ("status", "HEAD", "/status", None, 200, {}),
    ("not JSON", "POST", "/tenants", '{"tenant": ', 400, {}),
    ("no such tenant", "GET", "/tenants/nobody/Users", None, 404, {}),
    ("unknown path", "GET", "/devices", None, 404, {}),
    ("method", "PUT", "/tenants", NEW_TENANT, 405, {}),
]
# And for the token endpoint.
FORM = {"authorization": None, "content-type": "application/x-www-form-urlencoded"}
GRANT = "grant_type=client_credentials"
TOKEN_STEPS = [
    ("secret", "POST", "/oauth2/token", GRANT + "&client_id={client}&client_secret={clientSecret}", 200, {"headers": FORM}),
    ("wrong secret", "POST", "/oauth2/token", GRANT + "&client_id={client}&client_secret=x", 401, {"headers": FORM}),
    ("repeated", "POST", "/oauth2/token", GRANT + "&" + GRANT, 400, {"headers": FORM}),
    ("another grant", "POST", "/oauth2/token", "grant_type=password", 400, {"headers": FORM}),
    ("method", "GET", "/oauth2/token", None, 405, {"headers": FORM}),
    ("metadata", "GET", "/.well-known/oauth-authorization-server", None, 200, {"headers": FORM}),
    ("metadata below", "GET", "/scim/v2/.well-known/oauth-authorization-server", None, 200, {"headers": FORM}),
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
        for name, value in headers.items():
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
        text = re.sub(r"https?://[^/\"]+(/prod)?(/(scim/v2|app/v1))?", "{base}", text or "")
        for name, value in self.ids.items():
            text = text.replace(value, "{%s}" % name)
        text = re.sub(r"rct?_[a-z0-9-]+_[0-9A-Za-z]{43}_[0-9A-Za-z]{6}", "{secret}", text)
        text = re.sub(r"secret_[0-9A-Za-z]+", "{secret id}", text)
        text = re.sub(r"key_[0-9A-Za-z]+", "{key id}", text)
        text = re.sub(re.escape(self.tag), "{tag}", text, flags=re.IGNORECASE)
        text = re.sub(r'"(incarnation|rootTeam|next)":"[^"]+"', r'"\1":"{made}"', text)
        return re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "{time}", text)

    def play(self, method, path, body, sent, keep):
        status, headers, text = self.send(method, path, body, sent)
        if keep and status < 300:
            made = json.loads(text)
            self.ids[keep] = made.get("id", "none")
            self.ids.update({name: made[name] for name in ("clientSecret",) if name in made})
        answer = {"status": status, "location": self.named(headers.get("location")), "etag": self.named(headers.get("etag"))}
        if text:
            answer["content-type"] = headers.get("content-type")
            answer["body"] = json.loads(self.named(text))
        return answer


def differences(about, expected, dev, sam, refusal):
    if expected == 401:
        if dev["status"] != expected or dev["content-type"] != refusal:
            yield f"dev: {dev}"
        if sam["status"] not in ((403,) if about == "wrong key" else (401,)):
            yield f"sam: {sam}"
        return
    if dev["status"] != expected:
        yield f"status {dev['status']}, expected {expected}: {dev.get('body')}"
    for part in dev.keys() | sam.keys():
        if dev.get(part) != sam.get(part):
            yield f"{part}\n    dev {json.dumps(dev.get(part))}\n    sam {json.dumps(sam.get(part))}"


def compare(dev, sam, steps, key, content, refusal):
    """How many of the steps are answered differently."""
    different = 0
    for about, method, path, body, expected, extra in steps:
        sent = {"authorization": "Bearer " + key, "accept": content, **({"content-type": content} if body else {})}
        sent.update(extra.get("headers", {}))
        answers = [side.play(method, path, body, sent, extra.get("keep")) for side in (dev, sam)]
        found = list(differences(about, expected, *answers, refusal))
        different += bool(found)
        print(f"{'DIFF' if found else 'same'}  {answers[0]['status']} {answers[1]['status']}  {method:6} {path.split('?')[0] or '/'}  ({about})")
        for difference in found:
            print(f"  {difference[:2000]}")
    return different


def main():
    dev, sam = Side(DEV + "/scim/v2", "viadev"), Side(SAM + "/scim/v2", "viasam")
    different = compare(dev, sam, STEPS, KEY, SCIM, SCIM)
    dev.base, sam.base = DEV + "/app/v1", SAM + "/app/v1"
    different += compare(dev, sam, APP_STEPS, APP_KEY, JSON, PROBLEM)
    dev.base, sam.base = DEV, SAM
    different += compare(dev, sam, TOKEN_STEPS, KEY, JSON, JSON)
    print(f"\n{len(STEPS) + len(APP_STEPS) + len(TOKEN_STEPS)} requests, {different} answered differently")
    sys.exit(1 if different else 0)


main()
