"""A stub in place of a service: it responds with its process id and fails as its arguments demand.

python stub_program.py PORT [--status N] [--ignore-sigterm]
"""

import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer


class PidHandler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = str(os.getpid()).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        """Write no log."""


if "--status" in sys.argv:
    sys.stderr.write("wrong settings\n")
    sys.exit(int(sys.argv[sys.argv.index("--status") + 1]))
handler = signal.SIG_IGN if "--ignore-sigterm" in sys.argv else lambda *_: os._exit(0)
signal.signal(signal.SIGTERM, handler)
HTTPServer(("127.0.0.1", int(sys.argv[1])), PidHandler).serve_forever()
