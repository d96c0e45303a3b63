"""Answers that are a success and are not of Rollcall: they are errors of the client, and a mirror goes on."""

from __future__ import annotations

import json
import sqlite3
import traceback
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from mirror_support import Waits
from played import ENTITLEMENT, GROUP, ROLE, TENANT, USER, Played, changed, refusal

from rollcall_client import (
    NotFound,
    ProblemError,
    Rollcall,
    RollcallError,
    TooManyRequests,
    Unauthorized,
    UnexpectedAnswer,
    answers,
)
from rollcall_client.form import Answer, Form, OrNull
from rollcall_client.mirror import Mirror

DOCUMENT = json.loads((Path(__file__).resolve().parents[3] / "docs" / "app-openapi.json").read_text())
SECRET = "rc_acme_do-not-show-this"
EXTENSION = "urn:ietf:params:scim:schemas:extension:rollcall:2.0:"
PAGE = "<html><body>Sign in, " + SECRET + "</body></html>"

METHODS: dict[str, tuple[str, Callable[[Rollcall], Any]]] = {
    "status": ("/status", lambda client: client.status()),
    "changes_page": ("/changes", lambda client: client.changes_page("0-0")),
    "changes": ("/changes", lambda client: list(client.changes(follow=False))),
    "feed_pages": ("/changes", lambda client: list(client.feed_pages(follow=False))),
    "tenants": ("/tenants", lambda client: list(client.tenants())),
    "tenant": ("/tenants/acme", lambda client: client.tenant("acme")),
    "create_tenant": ("/tenants", lambda client: client.create_tenant({"tenant": "acme"})),
    "update_tenant": ("/tenants/acme", lambda client: client.update_tenant("acme", {})),
    "keys": ("/tenants/acme/keys", lambda client: client.keys("acme")),
    "create_key": ("/tenants/acme/keys", lambda client: client.create_key("acme", {"name": "k"})),
    "rotate_key": ("/tenants/acme/keys/k/rotate", lambda client: client.rotate_key("acme", "k")),
    "revoke_key": ("/tenants/acme/keys/k", lambda client: client.revoke_key("acme", "k")),
    "clients": ("/tenants/acme/clients", lambda client: client.clients("acme")),
    "create_client": ("/tenants/acme/clients", lambda client: client.create_client("acme", {"name": "c"})),
    "rotate_client": ("/tenants/acme/clients/c/rotate", lambda client: client.rotate_client("acme", "c")),
    "revoke_client": ("/tenants/acme/clients/c", lambda client: client.revoke_client("acme", "c")),
    "users": ("/tenants/acme/Users", lambda client: list(client.users("acme"))),
    "user": ("/tenants/acme/Users/u", lambda client: client.user("acme", "u")),
    "user, if_none_match": ("/tenants/acme/Users/u", lambda client: client.user("acme", "u", if_none_match='W/"1"')),
    "groups": ("/tenants/acme/Groups", lambda client: list(client.groups("acme"))),
    "group": ("/tenants/acme/Groups/g", lambda client: client.group("acme", "g")),
    "members": ("/tenants/acme/Groups/g/members", lambda client: list(client.members("acme", "g"))),
    "replace_assignments": ("/tenants/acme/Groups/g/assignments", lambda client: client.replace_assignments("acme", "g", [])),
    "roles": ("/tenants/acme/roles", lambda client: list(client.roles("acme"))),
    "role": ("/tenants/acme/roles/r", lambda client: client.role("acme", "r")),
    "create_role": ("/tenants/acme/roles", lambda client: client.create_role("acme", {"id": "r", "displayName": "R"})),
    "update_role": ("/tenants/acme/roles/r", lambda client: client.update_role("acme", "r", {})),
    "delete_role": ("/tenants/acme/roles/r", lambda client: client.delete_role("acme", "r")),
    "entitlements": ("/tenants/acme/entitlements", lambda client: list(client.entitlements("acme"))),
    "entitlement": ("/tenants/acme/entitlements/e", lambda client: client.entitlement("acme", "e")),
    "create_entitlement": (
        "/tenants/acme/entitlements",
        lambda client: client.create_entitlement("acme", {"id": "e", "displayName": "E"}),
    ),
    "update_entitlement": ("/tenants/acme/entitlements/e", lambda client: client.update_entitlement("acme", "e", {})),
    "delete_entitlement": ("/tenants/acme/entitlements/e", lambda client: client.delete_entitlement("acme", "e")),
    "webhooks": ("/webhooks", lambda client: list(client.webhooks())),
    "webhook": ("/webhooks/w", lambda client: client.webhook("w")),
    "create_webhook": ("/webhooks", lambda client: client.create_webhook({"url": "https://example.com"})),
    "update_webhook": ("/webhooks/w", lambda client: client.update_webhook("w", {})),
    "delete_webhook": ("/webhooks/w", lambda client: client.delete_webhook("w")),
    "test_webhook": ("/webhooks/w/test", lambda client: client.test_webhook("w")),
    "rotate_webhook": ("/webhooks/w/rotate", lambda client: client.rotate_webhook("w")),
}

OTHER_FORMS: dict[str, Any] = {
    "HTML": PAGE.encode(),
    "nothing": b"",
    "a part": b'{"key":"' + SECRET.encode(),
    "deep": b"[" * 200_000,
    "null": None,
    "a text": SECRET,
    "a number": 5,
    "a list": [SECRET],
    "no members": {},
    "other members": {"message": SECRET, "error": {"code": 5}},
}


def test_each_method_is_tried() -> None:
    public = {name for name in vars(Rollcall) if not name.startswith("_")}
    assert {name.split(",")[0] for name in METHODS} == public - {"from_env", "close"}


@pytest.mark.parametrize("form", OTHER_FORMS)
@pytest.mark.parametrize("method", METHODS)
def test_an_answer_of_another_form_is_an_error_of_the_client(method: str, form: str) -> None:
    deployment = Played()
    path, call = METHODS[method]
    deployment.instead[path] = OTHER_FORMS[form]
    with pytest.raises(UnexpectedAnswer, match="The answer is not of this API: .* Check that the URL ends with /app/v1") as error:
        call(deployment.client())
    assert_shows_no_value(error.value)
    assert len(deployment.requests) == 1


def assert_shows_no_value(error: BaseException) -> None:
    """Neither the message nor what Python prints of the error has a value of the answer."""
    assert SECRET not in str(error) and SECRET not in "".join(traceback.format_exception(error))
    assert error.__cause__ is None and error.__context__ is None


def page(*changes: Any, **more: Any) -> dict[str, Any]:
    return {"changes": list(changes), "next": "0-7", "more": False, **more}


def user(**more: Any) -> dict[str, Any]:
    return {"Resources": [{**USER, **more}]}


def group(**more: Any) -> dict[str, Any]:
    return {"Resources": [{**GROUP, **more}]}


def without(of: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in of.items() if key != name}


CHANGE = changed(7, "user.updated", "User", "u", resource=USER)
OF_GROUP = changed(7, "group.updated", "Group", "g", resource=GROUP)
META = {"version": SECRET}
ASSIGNED = {EXTENSION + "Group": {"assignments": [{"team": "g"}]}}

# What a mirror reads, with one fault each, and what the error says of it.
IN_SNAPSHOTS: list[tuple[str, Any, str]] = [
    ("/status", {"snapshot": 5}, "snapshot is a number, not a text"),
    ("/tenants", {"tenants": {}}, "tenants is an object, not a list"),
    ("/tenants", {"tenants": [SECRET]}, r"tenants\[0\] is a text, not an object"),
    ("/tenants", {"tenants": [without(TENANT, "tenant")]}, r"tenants\[0\]\.tenant is missing"),
    ("/tenants", {"tenants": [TENANT], "next": 5}, "next is a number, not a text"),
    ("/tenants/acme", {**TENANT, "version": "1"}, "version is a text, not a whole number"),
    ("/tenants/acme", {**TENANT, "version": True}, "version is true or false, not a whole number"),
    ("/tenants/acme", {**TENANT, "version": 1.5}, "version is a number, not a whole number"),
    ("/tenants/acme", {**TENANT, "version": 10**30}, "version is a number, not a whole number"),
    ("/tenants/acme", without(TENANT, "rootTeam"), "rootTeam is missing"),
    ("/tenants/acme/Users", {"resources": []}, "Resources is missing"),
    ("/tenants/acme/Users", user(id=None), r"Resources\[0\]\.id is null, not a text"),
    ("/tenants/acme/Users", user(userName=[SECRET]), r"user\.userName is a list, not a text"),
    ("/tenants/acme/Users", {"Resources": [without(USER, "userName")]}, r"user\.userName is missing"),
    ("/tenants/acme/Users", user(active="false"), r"user\.active is a text, not true or false"),
    ("/tenants/acme/Users", user(meta=META), r"user\.meta\.version is not a version such as"),
    ("/tenants/acme/Users", user(meta=[]), r"user\.meta is a list, not an object"),
    ("/tenants/acme/Users", user(emails=SECRET), r"user\.emails is a text, not a list"),
    ("/tenants/acme/Users", user(emails=[SECRET]), r"user\.emails\[0\] is a text, not an object"),
    ("/tenants/acme/Users", user(roles=[{"value": 5}]), r"user\.roles\[0\]\.value is a number, not a text"),
    ("/tenants/acme/Users", user(**{EXTENSION + "User": []}), "is a list, not an object"),
    ("/tenants/acme/Groups", group(displayName=None), r"group\.displayName is null, not a text"),
    ("/tenants/acme/Groups", group(meta={}), r"group\.meta\.version is missing"),
    ("/tenants/acme/Groups", group(**ASSIGNED), r"assignments\[0\]\.role is missing"),
    ("/tenants/acme/Groups/g/members", {"members": ["u"]}, r"members\[0\] is a text, not an object"),
    ("/tenants/acme/Groups/g/members", {"members": [{"value": 5}]}, r"members\[0\]\.value is a number, not a text"),
    ("/tenants/acme/roles", {"roles": [{**ROLE, "version": "1"}]}, r"roles\[0\]\.version is a text, not a whole number"),
    ("/tenants/acme/roles", {"roles": [{**ROLE, "grants": [{"team": 5}]}]}, r"grants\[0\]\.team is a number, not a text"),
    ("/tenants/acme/entitlements", {"entitlements": [without(ENTITLEMENT, "displayName")]}, "displayName is missing"),
]
IN_FEEDS: list[tuple[str, Any, str]] = [
    ("/changes", {"changes": []}, "next is missing"),
    ("/changes", page(more="false"), "more is a text, not true or false"),
    ("/changes", page(changes=None), "changes is null, not a list"),
    ("/changes", page(SECRET), r"changes\[0\] is a text, not an object"),
    ("/changes", page({**CHANGE, "seq": "7"}), r"changes\[0\]\.seq is a text, not a whole number"),
    ("/changes", page(CHANGE, without(CHANGE, "resourceId")), r"changes\[1\]\.resourceId is missing"),
    ("/changes", page(without(CHANGE, "incarnation")), r"changes\[0\]\.incarnation is missing"),
    ("/changes", page({**CHANGE, "resource": SECRET}), r"changes\[0\]\.resource is a text, not an object"),
    ("/changes", page({**CHANGE, "resource": {"message": SECRET}}), r"user\.id is missing"),
    ("/changes", page(without(CHANGE, "resource")), "has no resource"),
    ("/changes", page({**OF_GROUP, "added": SECRET}), r"changes\[0\]\.added is a text, not a list"),
    ("/changes", page({**OF_GROUP, "removed": [{"value": "u"}]}), r"changes\[0\]\.removed\[0\] is an object, not a text"),
    ("/changes", page({**OF_GROUP, "resource": {**GROUP, "meta": META}}), r"group\.meta\.version is not a version such as"),
    ("/changes", {"changes": [], "next": "0-0", "more": True}, "it says that there is more, and does not go on"),
]


@pytest.mark.parametrize(("path", "answer", "says"), IN_SNAPSHOTS + IN_FEEDS)
def test_a_mirror_tries_again_after_an_answer_of_another_form(
    path: str, answer: Any, says: str, caplog: pytest.LogCaptureFixture
) -> None:
    deployment, connection, stop = Played(), sqlite3.connect(":memory:"), Waits(2)
    mirror = Mirror(deployment.client(), connection)
    deployment.changes = [changed(7, "user.updated", "User", "u", resource={**USER, "userName": "new@example.com"})]
    deployment.instead[path] = answer
    mirror.run(stop)
    assert stop.seconds == [5, 1], "it pauses as after a 502, and then it is at the end of the feed"
    assert deployment.instead == {}
    [warning] = caplog.messages
    assert SECRET not in warning
    shown = mirror.dump()["tenants"]["acme"]
    assert shown["users"]["u"]["userName"] == "new@example.com" and shown["members"] == {"g": ["u"]}


@pytest.mark.parametrize(("path", "answer", "says"), IN_SNAPSHOTS + IN_FEEDS)
def test_the_error_says_what_was_wrong(path: str, answer: Any, says: str) -> None:
    deployment = Played()
    deployment.instead[path] = answer
    with pytest.raises(UnexpectedAnswer, match=says) as error:
        Mirror(deployment.client(), sqlite3.connect(":memory:")).catch_up()
    assert_shows_no_value(error.value)


def test_what_a_newer_server_adds_and_what_it_leaves_out_does_no_harm() -> None:
    deployment = Played()
    more = {"new": [1], "emails": None, "externalId": None, "roles": None, EXTENSION + "User": None}
    deployment.instead["/tenants/acme/Users"] = {**user(**more), "nextCursor": None, "new": {}}
    deployment.instead["/tenants/acme/Groups"] = group(**{EXTENSION + "Group": {"new": 1}})
    mirror = Mirror(deployment.client(), sqlite3.connect(":memory:"))
    mirror.catch_up()
    assert mirror.dump()["tenants"]["acme"]["users"].keys() == {"u"}


@pytest.mark.parametrize("path", ["/tenants", "/tenants/acme/Users", "/tenants/acme/Groups/g/members"])
def test_a_list_that_comes_again_and_again_ends(path: str) -> None:
    """As from a cache that ignores the query."""
    method = {"/tenants": "tenants", "/tenants/acme/Users": "users", "/tenants/acme/Groups/g/members": "members"}[path]
    deployment = Played()
    client = deployment.client()
    first = json.loads(deployment.answer(httpx.Request("GET", "http://x/app/v1" + path)).content)

    def again(_: httpx.Request) -> httpx.Response:
        deployment.instead[path] = again
        return httpx.Response(200, json={**first, "next": "c", "nextCursor": "c"})

    deployment.instead[path] = again
    with pytest.raises(UnexpectedAnswer, match="it says that there is more, and does not go on"):
        METHODS[method][1](client)
    assert len(deployment.requests) == 3


# The forms

FORMS = {name: form for name, form in vars(answers).items() if isinstance(form, Answer)}
OF_ANSWERS = [name for name in FORMS if not name.endswith("_OF_ROW") and not name.startswith("MESSAGE")]


@pytest.mark.parametrize("name", OF_ANSWERS)
def test_the_document_promises_what_the_client_reads(name: str) -> None:
    schema = typing.get_args(FORMS[name].__orig_class__)[0].__name__  # type: ignore[attr-defined]
    assert_promised(FORMS[name].members, {"$ref": f"#/components/schemas/{schema}"}, schema)


def assert_promised(form: Form, schema: dict[str, Any], place: str) -> None:
    while "$ref" in schema:
        schema = DOCUMENT["components"]["schemas"][schema["$ref"].split("/")[-1]]
    options = schema.get("anyOf", [schema])
    if isinstance(form, OrNull):
        assert any("null" in option["type"] for option in options), place
        form = form.form
    if isinstance(form, list):
        assert_promised(form[0], schema["items"], f"{place}[]")
    elif isinstance(form, Mapping):
        for name, inner in form.items():
            member = name.removesuffix("?")
            assert name.endswith("?") or member in schema["required"], f"{place}.{member}"
            if inner != {}:
                assert_promised(inner, schema["properties"][member], f"{place}.{member}")
    else:
        expected = {str: "string", int: "integer", bool: "boolean"}[form]  # type: ignore[index]
        assert any(expected in option["type"] for option in options), place


# Refusals of something that is not Rollcall


def absent(_: httpx.Request) -> httpx.Response:
    return httpx.Response(404, html="default backend - 404")


def lost(_: httpx.Request) -> httpx.Response:
    return httpx.Response(410, html="The page is gone. " + SECRET)


@pytest.mark.parametrize("path", ["/tenants/acme", "/tenants/acme/Users", "/tenants/acme/Groups/g/members"])
def test_a_404_of_a_proxy_removes_nothing_from_a_snapshot(path: str) -> None:
    deployment, stop = Played(), Waits(2)
    deployment.instead[path] = absent
    mirror = Mirror(deployment.client(), sqlite3.connect(":memory:"))
    mirror.run(stop)
    assert stop.seconds == [5, 1]
    shown = mirror.dump()["tenants"]["acme"]
    assert shown["users"].keys() == {"u"} and shown["members"] == {"g": ["u"]}


OF_PROXIES = [302, 307, 400, 403, 404, 405, 407, 408, 409, 410, 412, 413, 415, 418, 425, 451]


@pytest.mark.parametrize("status", OF_PROXIES)
def test_a_mirror_goes_on_after_a_page_of_a_proxy(status: int) -> None:
    deployment, stop = Played(), Waits(2)
    page = httpx.Response(status, html=PAGE, headers={"Location": "https://example.com/log-in"})
    deployment.instead["/tenants/acme/Users"] = lambda _: page
    mirror = Mirror(deployment.client(), sqlite3.connect(":memory:"))
    mirror.run(stop)
    assert stop.seconds == [5, 1]
    assert mirror.dump()["tenants"]["acme"]["users"].keys() == {"u"}


@pytest.mark.parametrize("status", [400, 401, 403, 405, 409, 412])
def test_a_mirror_ends_after_a_refusal_of_rollcall(status: int) -> None:
    deployment = Played()
    deployment.instead["/tenants/acme/Users"] = lambda _: refusal(status)
    with pytest.raises(ProblemError) as refused:
        Mirror(deployment.client(), sqlite3.connect(":memory:")).run(Waits(2))
    assert refused.value.status == status


def test_an_answer_of_something_else_has_the_request_id() -> None:
    deployment = Played()
    deployment.instead["/status"] = lambda _: httpx.Response(404, html=PAGE, headers={"x-amzn-RequestId": "c6af9ac6"})
    with pytest.raises(UnexpectedAnswer, match=r"it is a 404 of something else \(x-amzn-requestid c6af9ac6\)\."):
        deployment.client().status()


def test_401_and_429_need_no_problem() -> None:
    for status, kind in ((401, Unauthorized), (429, TooManyRequests)):
        deployment = Played()
        deployment.instead["/status"] = lambda _, status=status: httpx.Response(status, headers={"Retry-After": "100"})
        with pytest.raises(kind):
            deployment.client().status()


def test_a_410_of_a_proxy_is_no_lost_position() -> None:
    deployment, stop = Played(), Waits(2)
    mirror = Mirror(deployment.client(), sqlite3.connect(":memory:"))
    mirror.catch_up()
    deployment.instead["/changes"] = lost
    deployment.requests.clear()
    mirror.run(stop)
    assert stop.seconds == [5, 1] and deployment.requests == ["GET /changes"] * 2


def test_a_404_of_a_proxy_does_not_say_that_a_delete_was_done() -> None:
    for then in (absent, lambda _: refusal(404)):
        deployment = Played()

        def fail(_: httpx.Request, then: Any = then) -> httpx.Response:
            deployment.instead["/tenants/acme/keys/k"] = then
            return httpx.Response(502)

        deployment.instead["/tenants/acme/keys/k"] = fail
        if then is absent:
            with pytest.raises(UnexpectedAnswer, match="404"):
                deployment.client().revoke_key("acme", "k")
        else:
            deployment.client().revoke_key("acme", "k")
        assert len(deployment.requests) == 2


def test_a_refusal_of_rollcall_stays_what_it_is() -> None:
    with pytest.raises(NotFound, match="It is not there"):
        Played().client().user("acme", "nobody")
    assert issubclass(UnexpectedAnswer, RollcallError)
