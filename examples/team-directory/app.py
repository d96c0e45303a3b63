"""Team directory: a small product whose people and roles come from Rollcall."""

import hashlib
import hmac
import json
import logging
import math
import os
import secrets
import time
from collections.abc import Callable
from functools import wraps
from threading import Lock
from typing import Any

import waitress
from flask import Flask, Response, abort, flash, g, redirect, render_template, request, session, url_for
from rollcall_client import Rollcall, RollcallError

import consumer
import database

app = Flask(__name__)
app.secret_key = os.environ.get("SESSION_SECRET") or secrets.token_bytes(32)
app.config.update(SESSION_COOKIE_HTTPONLY=True, SESSION_COOKIE_SAMESITE="Lax", MAX_CONTENT_LENGTH=10_000)
# Pages wait for Rollcall only so long. Changes wait longer: after a timeout nobody knows whether a key was made, and its text
# is lost. The mirror has a client of its own.
reading = Rollcall.from_env(attempts=1, timeout_seconds=5)
changing = Rollcall.from_env()
View = Callable[..., Any]
LONGEST_AGE_SECONDS = float(os.environ.get("LONGEST_MIRROR_AGE_SECONDS", "900"))
VERSION_SECONDS = 1.0
"""For how long a version of the members page serves all open pages of a tenant. With many people it takes long to make."""
_versions: dict[str, tuple[float, str]] = {}
"""By incarnation: the last version, and when it was read."""
_versions_lock = Lock()


# Every request


@app.before_request
def check_form() -> None:
    """Refuses forms that do not come from a page of this session (CSRF)."""
    if request.method == "POST":
        expected = session.get("csrf", "")
        if not expected or not hmac.compare_digest(expected.encode(), request.form.get("csrf", "").encode()):
            abort(400, "The form is too old. Go back, load the page again, and send it once more.")


@app.context_processor
def form_token() -> dict[str, Any]:
    """The token for the forms of this session."""
    if "csrf" not in session:
        session["csrf"] = secrets.token_urlsafe(32)
    return {"csrf": session["csrf"]}


@app.after_request
def set_headers(response: Response) -> Response:
    """Nothing is stored by browsers, framed, or loaded from elsewhere."""
    response.headers["Cache-Control"] = "no-store"
    response.headers["Content-Security-Policy"] = "default-src 'self'; frame-ancestors 'none'; form-action 'self'"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


def check_age() -> None:
    """Lets nobody in while the tables are old. People who have left meanwhile would still be active in them."""
    if app.config["MIRROR"].age_seconds > LONGEST_AGE_SECONDS:
        abort(503, "The directory could not be read for some time, so nobody can enter now. Try again later.")


def logged_in(view: View) -> View:
    """Asks the tables at each request. So a session ends with the account."""

    @wraps(view)
    def checked(*values: Any, **named: Any) -> Any:
        check_age()
        person = database.user_by_id(session.get("incarnation", ""), session.get("user", ""))
        if person is None or not person["active"]:
            if "user" in session:
                session.clear()
                flash("Your account was deactivated. Ask your administrator.")
            return redirect(url_for("log_in"))
        g.person = person
        return view(*values, **named)

    return checked


def administrators_only(view: View) -> View:
    """Lets only administrators of the tenant's root team in."""

    @logged_in
    @wraps(view)
    def checked(*values: Any, **named: Any) -> Any:
        if not database.is_administrator(g.person["incarnation"], g.person["id"]):
            abort(403, "Only administrators of the root team see the settings.")
        return view(*values, **named)

    return checked


@app.errorhandler(RollcallError)
def show_refusal(error: RollcallError) -> tuple[str, int]:
    """What Rollcall refused, and what to change."""
    return render_template("error.html", message=str(error)), 502


@app.errorhandler(400)
@app.errorhandler(403)
@app.errorhandler(404)
@app.errorhandler(503)
def show_error(error: Any) -> tuple[str, int]:
    """An error as a page."""
    return render_template("error.html", message=error.description), error.code


# Log-in


@app.get("/log-in")
def log_in() -> str:
    """The form."""
    return render_template("log-in.html")


@app.post("/log-in")
def check_log_in() -> Any:
    """Lets an active person in.

    A product asks a password or an identity provider who this is. This example believes the form, and so it listens on
    this machine only. What it shows is the question after that: may this person enter?
    """
    check_age()
    tenant, name = request.form.get("tenant", "").strip(), request.form.get("name", "").strip()
    person = database.user_by_name(tenant, name)
    if person is None or not person["active"]:
        flash("This account does not exist or is deactivated. Ask your administrator.")
        return render_template("log-in.html", tenant=tenant, name=name), 403
    session.clear()
    session.update(user=person["id"], incarnation=person["incarnation"])
    return redirect(url_for("members"))


@app.post("/log-out")
def log_out() -> Any:
    """Ends the session."""
    session.clear()
    return redirect(url_for("log_in"))


# Members


@app.get("/")
@logged_in
def members() -> str:
    """Who is in the tenant, and who may do what."""
    people, version = read_members(g.person["incarnation"])
    return render_template("members.html", members=people, version=version)


@app.get("/live")
@logged_in
def live() -> Any:
    """The rows of the members page, if their version is not `seen`. The page asks every second."""
    incarnation, seen = g.person["incarnation"], request.args.get("seen")
    if recent_version(incarnation) == seen:
        return "", 204
    people, version = read_members(incarnation)
    if version == seen:
        return "", 204
    return render_template("rows.html", members=people), {"Version": version}


def read_members(incarnation: str) -> tuple[list[dict[str, Any]], str]:
    """The people of a tenant, and their version: a hash of the rows.

    The position of the mirror would not do as a version: it stays when the mirror repairs its tables.
    """
    read_at = time.monotonic()
    people = database.members(incarnation)
    version = hashlib.sha256(json.dumps(people).encode()).hexdigest()
    _versions[incarnation] = (read_at, version)
    return people, version


def recent_version(incarnation: str) -> str:
    """The version of the people of a tenant, which may be VERSION_SECONDS old. Only one request at a time makes it."""
    with _versions_lock:
        read_at, version = _versions.get(incarnation, (-math.inf, ""))
        if time.monotonic() - read_at > VERSION_SECONDS:
            version = read_members(incarnation)[1]
        return version


# Settings


@app.get("/settings")
@administrators_only
def settings() -> str:
    """The keys of identity providers."""
    return render_template("settings.html", keys=reading.keys(g.person["tenant"]))


@app.post("/settings/keys")
@administrators_only
def make_key() -> str:
    """Makes a key and shows it, once, with the fields that an identity provider asks for."""
    tenant = g.person["tenant"]
    made = changing.create_key(tenant, {"name": request.form.get("name", "").strip()})
    return render_template("settings.html", keys=changing.keys(tenant), made=made, scim_url=os.environ["ROLLCALL_SCIM_URL"])


@app.post("/settings/keys/<key>/revoke")
@administrators_only
def revoke_key(key: str) -> Any:
    """Revokes a key."""
    try:
        changing.revoke_key(g.person["tenant"], key)
    except ValueError:
        # No key has such an id: it is . or .. for example.
        abort(404)
    return redirect(url_for("settings"))


def main() -> None:
    """Starts the mirror and the web server."""
    logging.basicConfig(format="%(levelname)s %(message)s", level=logging.WARNING)
    if not os.environ.get("ROLLCALL_SCIM_URL"):
        raise SystemExit("Set ROLLCALL_SCIM_URL to the URL for identity providers: base_url of `rollcall dev --json`.")
    app.config["MIRROR"] = consumer.start()
    port = int(os.environ.get("PORT", "8000"))
    server = waitress.create_server(app, host="127.0.0.1", port=port, threads=8)
    print(f"http://127.0.0.1:{server.effective_port}/", flush=True)
    server.run()


if __name__ == "__main__":
    main()
