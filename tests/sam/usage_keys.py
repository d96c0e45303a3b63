"""usage_keys.py ADDRESS: stands in for the calls of API Gateway's control plane that make a tenant's usage key. It
listens on a free port of ADDRESS and prints its URL."""

import json
import sys
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KEYS = {}
ATTACHED = set()


class Control(BaseHTTPRequestHandler):
    def answer(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        if url.path.startswith("/usageplans/"):
            id = url.path.rsplit("/", 1)[1]
            return self.answer(200 if id in ATTACHED else 404, {"id": id})
        name = urllib.parse.parse_qs(url.query).get("name", [""])[0]
        self.answer(200, {"item": [key for key in KEYS.values() if key["name"].startswith(name)]})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.path.split("?")[0] == "/apikeys":
            body["id"] = f"key{len(KEYS)}"
            KEYS[body["id"]] = body
        elif body.get("keyId") not in KEYS:
            return self.answer(404, {"message": "no such key"})
        else:
            ATTACHED.add(body["keyId"])
        self.answer(201, body)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer((sys.argv[1], 0), Control)
print(f"http://{sys.argv[1]}:{server.server_port}", flush=True)
server.serve_forever()
