"""Serves bare repositories below ROOT over HTTP with a password, by git's own CGI program. Knows only a hash of the password.

Each request with the right password looks for it in the arguments and environments of every process, says what it found, and
waits for the file GO: meanwhile a test looks from outside.
"""

import base64
import gzip
import hashlib
import http.server
import os
import subprocess
import sys
import time

ROOT, PORT, DIGEST, GO = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]


def leaks(secret):
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        for name in ("cmdline", "environ"):
            try:
                with open(f"/proc/{pid}/{name}", "rb") as file:
                    if secret in file.read() and int(pid) != os.getpid():
                        found.append(f"{pid}/{name}")
            except OSError:
                pass
    return found


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def body(self):
        if self.headers.get("Transfer-Encoding") == "chunked":
            pieces = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                pieces.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            data = b"".join(pieces)
        else:
            data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return gzip.decompress(data) if self.headers.get("Content-Encoding") == "gzip" else data

    def answer(self):
        data = self.body()
        path, _, query = self.path.partition("?")
        if path.startswith("/led/"):
            self.send_response(302)
            self.send_header("Location", f"http://localhost:{PORT}/closed/{self.path.removeprefix('/led/')}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        user = None
        if not path.startswith("/open/"):
            given = self.headers.get("Authorization", "").removeprefix("Basic ")
            given = base64.b64decode(given)
            if hashlib.sha256(given).hexdigest() != DIGEST:
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="git"')
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            user, secret = given.decode().split(":", 1)
            with open(f"{GO}.looked", "a") as file:
                file.write(f"{leaks(secret.encode())}\n")
            deadline = time.monotonic() + 20
            while not os.path.exists(GO) and time.monotonic() < deadline:
                time.sleep(0.01)
        env = {
            "PATH": "/usr/bin:/bin",
            "GIT_PROJECT_ROOT": ROOT,
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(data)),
            "HTTP_GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
        }
        if user is not None:
            env["REMOTE_USER"] = user
        done = subprocess.run(["git", "http-backend"], env=env, input=data, stdout=subprocess.PIPE, check=False)
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        self.send_response(int(headers.pop("Status", "200 OK").split(" ")[0]))
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = answer


http.server.ThreadingHTTPServer(("127.0.0.1", PORT), Handler).serve_forever()
