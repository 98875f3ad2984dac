"""A real web server under real load, and the lines of its log as it writes them.

nginx runs from a directory of its own on loopback, never with the system's configuration. wrk
asks for 200 paths in turn and gives each request a number, which nginx writes at the start of the
line.
"""

import pathlib
import shutil
import socket
import subprocess
import time

from harness.ports import free_port

PATHS = 200

CONFIGURATION = """
worker_processes 1;
daemon off;
pid {root}/nginx.pid;
error_log {root}/error.log warn;
events {{ worker_connections 256; }}
http {{
    client_body_temp_path {root}/body;
    proxy_temp_path {root}/proxy;
    fastcgi_temp_path {root}/fastcgi;
    uwsgi_temp_path {root}/uwsgi;
    scgi_temp_path {root}/scgi;
    keepalive_requests 1000000;
    default_type text/html;
    log_format numbered '$arg_n $uri $remote_addr [$time_iso8601] "$request" $status '
                        '$body_bytes_sent $request_time "$http_user_agent" $connection';
    # wrk asks a little more than it is told; what has no number is no part of the test.
    access_log {root}/access.log numbered if=$arg_n;
    server {{
        listen 127.0.0.1:{port};
        root {root}/pages;
    }}
}}
"""

# One wrk thread, so that the counter is the request's number.
LOAD = """
local lines, paths = {lines}, {paths}
-- wrk calls request() once before it begins, to see that it gives one request.
local asked, answered = -1, 0
function request()
    asked = asked + 1
    local path = string.format("/page/%03d.html", asked * 7 % paths)
    if asked > 0 and asked <= lines then path = path .. "?n=" .. asked end
    return wrk.format("GET", path, {{ ["User-Agent"] = "wrk, the load of weir's real input" }})
end
function delay()
    return {delay_ms}
end
function response()
    answered = answered + 1
    -- A few more than asked for: answers come on several connections, so the last may overtake
    -- others.
    if answered >= lines + 100 then wrk.thread:stop() end
end
"""


class WebServer:
    """nginx with `PATHS` pages under `root`."""

    def __init__(self, root):
        self.root = pathlib.Path(root)
        self.log = self.root / "access.log"
        self.port = free_port()
        self.process = None
        self.load = None

    def __enter__(self):
        pages = self.root / "pages/page"
        pages.mkdir(parents=True)
        for number in range(PATHS):
            (pages / f"{number:03}.html").write_text(
                f"<title>{number}</title>" + "." * (number * 37)
            )
        configuration = self.root / "nginx.conf"
        configuration.write_text(CONFIGURATION.format(root=self.root, port=self.port))
        nginx = shutil.which("nginx") or "/usr/sbin/nginx"
        self.process = subprocess.Popen(
            [nginx, "-c", configuration, "-p", self.root, "-e", self.root / "error.log"]
        )
        deadline = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return self
            except OSError:
                if time.monotonic() > deadline or self.process.poll() is not None:
                    raise RuntimeError(f"nginx does not serve: {self.root}/error.log") from None
                time.sleep(0.05)

    def __exit__(self, *_):
        for process in (self.load, self.process):
            if process is not None and process.poll() is None:
                process.terminate()
                process.wait(10)

    def start_load(self, lines, delay_ms=0):
        """Begins `lines` numbered requests, each connection with a delay before each of its own;
        `follow` sees what becomes of them.
        """
        script = self.root / "load.lua"
        script.write_text(LOAD.format(lines=lines, paths=PATHS, delay_ms=delay_ms))
        command = ["wrk", "-t1", "-c8", "-d600s", "-s", script, f"http://127.0.0.1:{self.port}"]
        self.load = subprocess.Popen(command, stdout=subprocess.DEVNULL)

    def follow(self, lines):
        """The lines of the log, without their line ends, in its order, as nginx writes them."""
        seen = 0
        deadline = time.monotonic() + 300
        with self.log.open("rb") as log:
            rest = b""
            while seen < lines:
                if time.monotonic() > deadline:
                    raise RuntimeError(f"nginx wrote only {seen} of {lines} lines")
                chunk = log.read(1 << 16)
                if not chunk:
                    time.sleep(0.002)
                    continue
                *whole, rest = (rest + chunk).split(b"\n")
                for line in whole:
                    yield line
                    seen += 1


def number_of(line):
    return int(line.split(b" ", 1)[0])


def path_of(line):
    return line.split(b" ", 2)[1]
