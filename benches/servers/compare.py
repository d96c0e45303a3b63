"""Compares servers of SCIM: the same requests to each on one connection, in turns, on this machine.

Prints a Markdown table: the requests a second, and the processor time that the server took for each. With `--page FILE`
the table also replaces the part `servers` of that page.

    compare.py --rollcall PROGRAM --folder FOLDER [--page FILE]

FOLDER has the other servers, as `make bench-peers` installs them.
"""

import argparse
import datetime
import http.client
import json
import os
import pathlib
import shutil
import socket
import statistics
import subprocess
import time
import uuid

USERS = 1_000
ROUNDS = 5
GROUPS = (10, 1_000)
USER = "urn:ietf:params:scim:schemas:core:2.0:User"
GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group"
PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
TICKS = os.sysconf("SC_CLK_TCK")

# What is measured, and how many requests one turn has.
OPERATIONS = {
    "POST a user": 100,
    "GET a user": 200,
    "filter by userName": 50,
    "page of 100": 20,
    "PATCH active": 100,
    **{f"add a member to a group of {size:,}": 20 for size in GROUPS},
}


class Refused(Exception):
    """The server did not do what was asked."""


class Server:
    """A server that runs, a connection to it, and what it stores."""

    def __init__(self, name, command, base, key="none", folder=None):
        self.name, self.base, self.key = name, base, key
        self.process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.users, self.groups, self.rates, self.times = [], {}, {}, {}

    def connect(self, port):
        """Waits until the server listens."""
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        for _ in range(600):
            try:
                self.connection.connect()
                return self
            except OSError:
                time.sleep(0.2)
        raise SystemExit(f"{self.name} does not listen")

    def send(self, method, path, body=None):
        """Sends a request. Returns the body of the answer."""
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/scim+json"}
        text = None if body is None else json.dumps(body)
        self.connection.request(method, self.base + path, text, headers)
        answer = self.connection.getresponse()
        read = answer.read()
        if answer.status >= 300:
            raise Refused(f"{answer.status} to {method} {path}: {read[:200]!r}")
        return json.loads(read) if read else None

    def fill(self):
        """Makes the users and the groups."""
        for at in range(USERS):
            self.users.append(self.send("POST", "/Users", user(f"user{at}"))["id"])
        for size in GROUPS:
            members = [{"value": member} for member in self.users[:size]]
            group = {"schemas": [GROUP], "displayName": f"group{size}", "members": members}
            self.groups[size] = self.send("POST", "/Groups?excludedAttributes=members", group)["id"]

    def processor_time(self):
        """The seconds of processor time that the server has taken."""
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def measure(self, operation, count):
        """Plays one turn of an operation, on a connection of its own: a server may have closed one that waited."""
        self.connection.close()
        self.connection.connect()
        requests = [self.request(operation, at) for at in range(count)]
        before, began = self.processor_time(), time.perf_counter()
        try:
            for request in requests:
                self.send(*request)
        except Refused as refused:
            print(f"{self.name}, {operation}: {refused}", flush=True)
            return
        seconds = time.perf_counter() - began
        self.rates.setdefault(operation, []).append(count / seconds)
        self.times.setdefault(operation, []).append((self.processor_time() - before) / count)

    def request(self, operation, at):
        """A request of an operation. What it needs is made before."""
        if operation == "POST a user":
            return ("POST", "/Users", user(uuid.uuid4().hex))
        if operation == "GET a user":
            return ("GET", f"/Users/{self.users[at]}")
        if operation == "filter by userName":
            return ("GET", f"/Users?filter=userName%20eq%20%22user{at}@example.com%22")
        if operation == "page of 100":
            return ("GET", "/Users?startIndex=1&count=100")
        if operation == "PATCH active":
            turn = len(self.rates.get(operation, []))
            return ("PATCH", f"/Users/{self.users[at]}", patch("replace", "active", turn % 2 == 1))
        size = int(operation.rsplit(" ", 1)[1].replace(",", ""))
        member = self.send("POST", "/Users", user(uuid.uuid4().hex))["id"]
        add = patch("add", "members", [{"value": member}])
        return ("PATCH", f"/Groups/{self.groups[size]}?excludedAttributes=members", add)

    def cell(self, operation):
        """The medians of an operation, as text."""
        if operation not in self.rates:
            return "refused"
        rate, took = statistics.median(self.rates[operation]), statistics.median(self.times[operation])
        return f"{rate:,.0f}/s, {took * 1000:.1f} ms"


def user(name):
    return {
        "schemas": [USER],
        "userName": f"{name}@example.com",
        "externalId": name,
        "displayName": name,
        "name": {"givenName": "Given", "familyName": name},
        "emails": [{"value": f"{name}@example.com", "type": "work", "primary": True}],
        "active": True,
    }


def patch(op, path, value):
    return {"schemas": [PATCH], "Operations": [{"op": op, "path": path, "value": value}]}


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def start(program, folder):
    """Starts the servers."""
    stored = folder / "data"
    shutil.rmtree(stored, ignore_errors=True)
    port = free_port()
    words = ["dev", "--json", "--port", str(port), "--policy", "standard", "--data-dir", str(stored)]
    own = Server("Rollcall", [program, *words], "/scim/v2")
    own.key = json.loads(own.process.stdout.readline())["key"]
    yield own.connect(port)
    port = free_port()
    yield Server("scimmy-routers", ["node", "scimmy.js", str(port)], "/scim", folder=folder).connect(port)
    port = free_port()
    words = [folder / "venv/bin/scim2-server", "--port", str(port)]
    yield Server("scim2-server", words, "/v2").connect(port)


def description(load_before):
    """When, of which commit and on which machine the comparison was."""
    date = datetime.datetime.now(datetime.timezone.utc).date()
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    return (
        f"Measured on {date} at commit {commit or 'unknown'}. The machine has {os.cpu_count()} cores. "
        f"Its load average was {load_before:.2f} before the run and {os.getloadavg()[0]:.2f} after it.\n"
    )


def write_part(page, part, text):
    """Writes a text between the two markers of a part."""
    old = page.read_text()
    begin, end = f"<!-- measured: {part} -->\n", f"<!-- end of {part} -->\n"
    head, rest = old.split(begin)
    page.write_text(head + begin + text + end + rest.split(end)[1])


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--rollcall", required=True)
    arguments.add_argument("--folder", required=True, type=pathlib.Path)
    arguments.add_argument("--page", type=pathlib.Path)
    arguments = arguments.parse_args()
    load_before, servers = os.getloadavg()[0], []
    try:
        for server in start(arguments.rollcall, arguments.folder.resolve()):
            servers.append(server)
            server.fill()
        for _ in range(ROUNDS):
            for operation, count in OPERATIONS.items():
                for server in servers:
                    server.measure(operation, count)
    finally:
        for server in servers:
            server.process.terminate()
            server.process.wait()
    rows = ["| requests a second, processor time of each | " + " | ".join(server.name for server in servers) + " |"]
    rows.append("| --- |" + " --- |" * len(servers))
    for operation in OPERATIONS:
        rows.append(f"| {operation} | " + " | ".join(server.cell(operation) for server in servers) + " |")
    text = description(load_before) + "\n" + "\n".join(rows) + "\n"
    print(text)
    if arguments.page:
        write_part(arguments.page, "servers", text)


if __name__ == "__main__":
    main()
