#!/usr/bin/env python3
"""Writes the events in this folder: what calls each function, one file an event.

    python3 events/generate.py            write them
    python3 events/generate.py --check    fail if a file differs from what would be written

The shape is that of a regional REST API with Lambda proxy integration (payload version 1.0): query
parameters and path parameters arrive decoded, `path` is without the stage and `requestContext.path` is with
it, what the authorizer answered is text in `requestContext.authorizer`, and the usage key it named stands
in `requestContext.identity`. The ids below stand for a user and a group that must exist where an event is
to succeed; bodies satisfy the `veza` policy.
"""

import json
import pathlib
import sys

TENANT = "demo"
USER = "019aaf5c-8b40-7c3e-9d52-6f1b2a3c4d5e"
OTHER_USER = "019aaf5c-8b41-7a10-8e63-7a2c3b4d5e6f"
GROUP = "019aaf5c-8b42-7f21-af74-8b3d4c5e6f70"
# Of the right form, its checksum included, and in no table.
UNKNOWN_KEY = "rc_demo_0000000000000000000000000000000000000000000_0FuBcJ"
UNKNOWN_SECRET = "rcs_0000000000000000000000000000000000000000000_2XKv3w"
UNKNOWN_APPLICATION_KEY = "rca_0000000000000000000000000000000000000000000_0rNU6R"
HOST = "a1b2c3d4e5.execute-api.eu-west-1.amazonaws.com"
SCIM, JSON = "application/scim+json", "application/json"

CORE = "urn:ietf:params:scim:schemas:core:2.0:"
ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
MESSAGE = "urn:ietf:params:scim:api:messages:2.0:"


def user(given, family, mail, **more):
    """A user that every policy accepts: userName is the primary email."""
    return {
        "schemas": [CORE + "User"],
        "userName": mail,
        "name": {"givenName": given, "familyName": family},
        "displayName": f"{given} {family}",
        "emails": [{"value": mail, "type": "work", "primary": True}],
        "active": True,
        **more,
    }


def group(name, *members):
    return {
        "schemas": [CORE + "Group"],
        "displayName": name,
        "members": [{"value": member, "type": "User"} for member in members],
    }


def patch(*operations):
    return {"schemas": [MESSAGE + "PatchOp"], "Operations": list(operations)}


def search(**parameters):
    return {"schemas": [MESSAGE + "SearchRequest"], **parameters}


BARBARA = user("Barbara", "Jensen", "bjensen@example.com", externalId="701984", title="Tour Guide")
BULK = {
    "schemas": [MESSAGE + "BulkRequest"],
    "failOnErrors": 1,
    "Operations": [
        {"method": "POST", "path": "/Users", "bulkId": "alice", "data": user("Alice", "Ng", "alice@example.com")},
        {"method": "POST", "path": "/Groups", "bulkId": "guides", "data": group("Night Guides", "bulkId:alice")},
        {"method": "PATCH", "path": f"/Users/{USER}", "data": patch({"op": "replace", "path": "title", "value": "Guide"})},
    ],
}


SCIM_SIDE = {
    "base": "/scim/v2",
    "type": SCIM,
    "key": UNKNOWN_KEY,
    "principal": f"{TENANT}/k_events",
    "authorizer": {"tenantId": TENANT, "keyId": "k_events", "scope": "provision", "policy": "veza", "retentionDays": "365"},
    "usage": {"apiKey": "usage-key-of-the-demo-tenant", "apiKeyId": "u5a8g3k1"},
}
APP_SIDE = {
    "base": "/app/v1",
    "type": JSON,
    "key": UNKNOWN_APPLICATION_KEY,
    "principal": "app_events",
    "authorizer": {"keyId": "app_events", "scope": "manage"},
    "usage": {"apiKey": "usage-key-of-the-applications", "apiKeyId": "w2d7n5q8"},
}
# The token endpoint has an API of its own, without authorizer and usage key. Its metadata is in the SCIM API, of which a
# variable of the stage has the URL of the endpoint.
TOKEN_HOST = "f6g7h8i9j0.execute-api.eu-west-1.amazonaws.com"
TOKEN_SIDE = {"base": "", "type": JSON, "host": TOKEN_HOST, "stage": "oauth2"}
METADATA_SIDE = {"base": "", "type": JSON, "variables": {"tokenUrl": f"https://{TOKEN_HOST}/oauth2/token"}}


def proxy(method, path, query=(), body=None, content_type="", scope=None, authorized=True, side=SCIM_SIDE):
    """One REST proxy event for `path` below the base path, as API Gateway sends it."""
    index = len(EVENTS) + 1
    content_type = content_type or side["type"]
    full = side["base"] + path
    greedy = path.strip("/") and side["base"]
    host, stage = side.get("host", HOST), side.get("stage", "prod")
    resource = side["base"] + ("/{proxy+}" if greedy else path)
    parameters = {"proxy": path.strip("/")} if greedy else None
    headers = {"Accept": side["type"], "Accept-Encoding": "gzip, deflate"}
    if authorized:
        headers["Authorization"] = "Bearer " + side["key"]
    if body is not None:
        headers["Content-Type"] = content_type
    trace = f"Root=1-6923a9c0-{index:024x}"
    headers |= {
        "Host": host,
        "User-Agent": "rollcall-events/1",
        "X-Amzn-Trace-Id": trace,
        "X-Forwarded-For": "198.51.100.7",
        "X-Forwarded-Port": "443",
        "X-Forwarded-Proto": "https",
    }
    many = {}
    for name, value in query:
        many.setdefault(name, []).append(value)
    context = {"resourceId": "p7x2kd" if parameters else "m4q9zt"}
    identity = {
        "cognitoIdentityPoolId": None,
        "accountId": None,
        "cognitoIdentityId": None,
        "caller": None,
        "sourceIp": "198.51.100.7",
        "principalOrgId": None,
        "accessKey": None,
        "cognitoAuthenticationType": None,
        "cognitoAuthenticationProvider": None,
        "userArn": None,
        "userAgent": "rollcall-events/1",
        "user": None,
    }
    if authorized:
        context["authorizer"] = {
            **side["authorizer"],
            **({"scope": scope} if scope else {}),
            "principalId": side["principal"],
            "integrationLatency": 12,
        }
        identity |= side["usage"]
    context |= {
        "resourcePath": resource,
        "httpMethod": method,
        "extendedRequestId": f"T{index:014d}=",
        "requestTime": "24/Nov/2025:00:40:00 +0000",
        "path": f"/{stage}{full}",
        "accountId": "123456789012",
        "protocol": "HTTP/1.1",
        "stage": stage,
        "domainPrefix": host.split(".")[0],
        "requestTimeEpoch": 1763944800000,
        "requestId": f"6d1c2b3a-0000-4000-8000-{index:012x}",
        "identity": identity,
        "domainName": host,
        "deploymentId": "d9f1k2",
        "apiId": host.split(".")[0],
    }
    return {
        "resource": resource,
        "path": full,
        "httpMethod": method,
        "headers": headers,
        "multiValueHeaders": {name: [value] for name, value in headers.items()},
        # Of a parameter that comes twice, the last stands here and all stand below.
        "queryStringParameters": {name: values[-1] for name, values in many.items()} or None,
        "multiValueQueryStringParameters": many or None,
        "pathParameters": parameters,
        "stageVariables": side.get("variables"),
        "requestContext": context,
        "body": body if body is None or isinstance(body, str) else json.dumps(body, ensure_ascii=False),
        "isBase64Encoded": False,
    }


def token(value, path="/scim/v2/Users"):
    """What a TOKEN authorizer is called with."""
    return {
        "type": "TOKEN",
        "methodArn": f"arn:aws:execute-api:eu-west-1:123456789012:{HOST.split('.')[0]}/prod/GET{path}",
        "authorizationToken": value,
    }


EVENTS = {}


def write(name, method, path, **more):
    EVENTS[name] = proxy(method, path, **more)


# Users
write("users-list", "GET", "/Users")
write("users-list-page", "GET", "/Users", query=[("startIndex", "1"), ("count", "2")])
write("users-list-sorted", "GET", "/Users", query=[("sortBy", "userName"), ("sortOrder", "descending"), ("attributes", "userName,emails.value")])
write("users-filter", "GET", "/Users", query=[("filter", 'userName eq "bjensen@example.com"')])
write("users-filter-plus", "GET", "/Users", query=[("filter", 'userName eq "a+b@example.com"')])
write("users-create", "POST", "/Users", body=BARBARA)
write("users-create-enterprise", "POST", "/Users", content_type=SCIM + "; charset=utf-8", body=user(
    "Zoë", "Müller", "zoe@example.com",
    schemas=[CORE + "User", ENTERPRISE],
    **{ENTERPRISE: {"employeeNumber": "701985", "department": "Tours", "manager": {"value": USER}}}))
write("users-read", "GET", f"/Users/{USER}")
write("users-replace", "PUT", f"/Users/{USER}", body={**BARBARA, "id": USER, "title": "Head Guide"})
write("users-patch", "PATCH", f"/Users/{USER}", body=patch({"op": "replace", "path": "name.givenName", "value": "Babs"}))
write("users-patch-deactivate", "PATCH", f"/Users/{USER}", body=patch({"op": "Replace", "path": "active", "value": "False"}))
write("users-delete", "DELETE", f"/Users/{USER}")
write("users-search", "POST", "/Users/.search", body=search(filter='userName sw "b"', startIndex=1, count=10))

# Groups
write("groups-list", "GET", "/Groups")
write("groups-filter", "GET", "/Groups", query=[("excludedAttributes", "members"), ("filter", 'displayName eq "Tour Guides"')])
write("groups-filter-member", "GET", "/Groups", query=[("filter", f'id eq "{GROUP}" and members eq "{USER}"')])
write("groups-create", "POST", "/Groups", body=group("Tour Guides", USER))
write("groups-read", "GET", f"/Groups/{GROUP}")
write("groups-read-without-members", "GET", f"/Groups/{GROUP}", query=[("excludedAttributes", "members")])
write("groups-replace", "PUT", f"/Groups/{GROUP}", body={**group("Tour Guides", USER, OTHER_USER), "id": GROUP})
write("groups-patch", "PATCH", f"/Groups/{GROUP}", body=patch({"op": "replace", "value": {"id": GROUP, "displayName": "Guides"}}))
write("groups-patch-add-member", "PATCH", f"/Groups/{GROUP}", body=patch({"op": "add", "path": "members", "value": [{"value": OTHER_USER}]}))
write("groups-patch-remove-member", "PATCH", f"/Groups/{GROUP}", body=patch({"op": "remove", "path": f'members[value eq "{OTHER_USER}"]'}))
write("groups-delete", "DELETE", f"/Groups/{GROUP}")
write("groups-search", "POST", "/Groups/.search", body=search(filter='displayName co "guide"', excludedAttributes=["members"]))

# Both, and many at once
write("search", "POST", "/.search", body=search(filter="meta.resourceType pr", attributes=["displayName"], count=5))
write("bulk", "POST", "/Bulk", body=BULK)

# Discovery, and the key's own user
write("schemas", "GET", "/Schemas")
write("schema", "GET", f"/Schemas/{CORE}User")
write("resource-types", "GET", "/ResourceTypes")
write("resource-type", "GET", "/ResourceTypes/User")
write("service-provider-config", "GET", "/ServiceProviderConfig")
write("me", "GET", "/Me")

# Refused
write("base-path", "GET", "")
write("unknown-path", "GET", "/Devices")
write("method-not-allowed", "PUT", "/Users", body=BARBARA)
write("unsupported-media-type", "POST", "/Users", content_type="text/xml", body="<user/>")
write("invalid-json", "POST", "/Users", body='{"schemas": [')
write("read-scope", "POST", "/Users", scope="read", body=BARBARA)
write("unauthorized", "GET", "/Users", authorized=False)

# The authorizer
EVENTS["authorizer-unknown-key"] = token("Bearer " + UNKNOWN_KEY)
EVENTS["authorizer-malformed-key"] = token("Bearer not-a-key")

# The application's side: what the function that reads answers, and the one that manages
write("app-read-tenants", "GET", "/tenants", side=APP_SIDE)
write("app-read-users-filter", "GET", f"/tenants/{TENANT}/Users", query=[("filter", 'userName eq "bjensen@example.com"')], side=APP_SIDE)
write("app-read-changes", "GET", "/changes", query=[("limit", "10"), ("include", "resource")], side=APP_SIDE)
write("app-read-status", "GET", "/status", side=APP_SIDE)
write("app-read-unknown-path", "GET", "/devices", side=APP_SIDE)
write("app-manage-tenant-create", "POST", "/tenants", body={"tenant": "acme", "policy": "standard"}, side=APP_SIDE)
write("app-manage-tenant-update", "PATCH", f"/tenants/{TENANT}", body={"retentionDays": 30}, side=APP_SIDE)
write("app-manage-key-create", "POST", f"/tenants/{TENANT}/keys", body={"name": "Okta"}, side=APP_SIDE)
write("app-manage-read-scope", "POST", "/tenants", body={"tenant": "acme"}, scope="read", side=APP_SIDE)

# Roles and entitlements
write("roles-list", "GET", "/Roles")
write("entitlements-list", "GET", "/Entitlements")
write("app-manage-role-create", "POST", f"/tenants/{TENANT}/roles", body={"id": "billing", "displayName": "Billing"}, side=APP_SIDE)
EVENTS["app-authorizer-unknown-key"] = token("Bearer " + UNKNOWN_APPLICATION_KEY, "/app/v1/tenants")

# The token endpoint: a client that there is not, and what a client looks for first
write("token-unknown-client", "POST", "/token", side=TOKEN_SIDE, authorized=False, content_type="application/x-www-form-urlencoded",
      body="grant_type=client_credentials&client_id=client_000000000000&client_secret=" + UNKNOWN_SECRET)
write("token-metadata", "GET", "/.well-known/oauth-authorization-server", side=METADATA_SIDE, authorized=False)

# The worker: every minute, and after a write to the outbox (the stream has the keys of items only)
EVENTS["worker-minute"] = {
    "version": "0",
    "id": "53dc4d37-cffa-4f76-80c9-8b7d4a4d2eaa",
    "detail-type": "Scheduled Event",
    "source": "aws.events",
    "account": "123456789012",
    "time": "2025-11-24T00:40:00Z",
    "region": "eu-west-1",
    "resources": ["arn:aws:events:eu-west-1:123456789012:rule/rollcall-WorkerFunctionEveryMinute"],
    "detail": {},
}
EVENTS["worker-stream"] = {
    "Records": [
        {
            "eventID": "c4ca4238a0b923820dcc509a6f75849b",
            "eventName": "INSERT",
            "eventVersion": "1.1",
            "eventSource": "aws:dynamodb",
            "awsRegion": "eu-west-1",
            "dynamodb": {
                "ApproximateCreationDateTime": 1763944800,
                "Keys": {
                    "pk": {"S": "OUTBOX#0"},
                    "sk": {"S": f"{TENANT}#{USER}#0000000001#00000"},
                },
                "SequenceNumber": "4421584500000000017450439091",
                "SizeBytes": 26,
                "StreamViewType": "KEYS_ONLY",
            },
            "eventSourceARN": "arn:aws:dynamodb:eu-west-1:123456789012:table/rollcall/stream/2025-11-24T00:00:00.000",
        }
    ]
}


def main():
    folder = pathlib.Path(__file__).resolve().parent
    wanted = {f"{name}.json": json.dumps(event, indent=2, ensure_ascii=False) + "\n" for name, event in EVENTS.items()}
    if sys.argv[1:] == ["--check"]:
        present = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.json")}
        wrong = sorted(name for name in wanted.keys() | present.keys() if wanted.get(name) != present.get(name))
        sys.exit(f"not as events/generate.py writes them: {', '.join(wrong)}" if wrong else 0)
    for stale in folder.glob("*.json"):
        stale.unlink()
    for name, text in wanted.items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
