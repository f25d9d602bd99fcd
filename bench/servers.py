"""Servers for the benchmarks: ochre, and the reference of the Python package h2o."""
import contextlib
import glob
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

os.environ["DO_NOT_TRACK"] = "1"
import h2o  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
OCHRE = os.path.join(os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target")), "release", "ochre")


def ochre(*more):
    """The command of an ochre server; PORT and ICE stand for what `serving` chooses."""
    return [OCHRE, "serve", "--port", "PORT", "--ice-root", "ICE", *more]


def reference(memory="8g"):
    jar = glob.glob(os.path.join(os.path.dirname(h2o.__file__), "backend", "bin", "h2o.jar"))[0]
    return ["java", f"-Xmx{memory}", "-jar", jar, "-ip", "127.0.0.1", "-port", "PORT", "-name", "bench", "-ice_root", "ICE"]


@contextlib.contextmanager
def serving(command):
    """A server, and the client connected to it; gives the process."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    with tempfile.TemporaryDirectory() as ice:
        known = {"PORT": str(port), "ICE": ice}
        p = subprocess.Popen([known.get(c, c) for c in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            while True:
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/3/Cloud", timeout=5).read()
                    break
                except OSError:
                    if p.poll() is not None:
                        sys.exit(f"{command[0]} ended at its start")
                    time.sleep(0.01)
            h2o.connect(url=f"http://127.0.0.1:{port}", verbose=False)
            h2o.no_progress()
            yield p
        finally:
            # Or the client would miss the server when the program ends.
            with contextlib.suppress(Exception):
                h2o.connection().close()
            p.kill()
            p.wait()
