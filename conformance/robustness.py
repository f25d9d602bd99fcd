"""Rough treatment: clients that vanish, many at once, random bytes on every route: robustness.py URL"""
import concurrent.futures
import http.client
import os
import random
import subprocess
import sys
import time
import urllib.parse
import urllib.request

url = sys.argv[1]
host = urllib.parse.urlparse(url).netloc
here = os.path.dirname(os.path.abspath(__file__))


def alive():
    with urllib.request.urlopen(url + "/3/Cloud", timeout=20) as r:
        assert r.status == 200


def client_killed_in_a_job():
    script = f"""
import os; os.environ['DO_NOT_TRACK'] = '1'
import h2o
from h2o.estimators import H2OGradientBoostingEstimator as GBM
h2o.connect(url={url!r}, verbose=False); h2o.no_progress()
f = h2o.import_file({os.path.join(here, 'data', 'AirlinesTrain.csv.zip')!r})
print('training', flush=True)
GBM(ntrees=2000, max_depth=8, seed=1, model_id='orphan').train(y='IsDepDelayed', training_frame=f)
"""
    p = subprocess.Popen([sys.executable, "-W", "ignore", "-c", script], stdout=subprocess.PIPE, text=True)
    while "training" not in p.stdout.readline():
        pass
    time.sleep(0.7)
    p.kill()
    p.wait()
    alive()
    import json

    jobs = json.load(urllib.request.urlopen(url + "/3/Jobs"))["jobs"]
    running = [j for j in jobs if j["status"] == "RUNNING"]
    assert running, "the job should go on without its client"
    for j in running:
        key = urllib.parse.quote(j["key"]["name"], safe="")
        urllib.request.urlopen(urllib.request.Request(f"{url}/3/Jobs/{key}/cancel", method="POST", data=b""))
    t = time.time()
    while True:
        jobs = json.load(urllib.request.urlopen(url + "/3/Jobs"))["jobs"]
        if not any(j["status"] == "RUNNING" for j in jobs):
            break
        assert time.time() - t < 10, "a cancelled job should end"
    print(f"client killed in a job: the server answers, the job was cancelled in {time.time() - t:.2f} s")


def hundred_clients():
    def one(i):
        c = http.client.HTTPConnection(host, timeout=60)
        for path in ("/3/Metadata/schemas/CloudV3", "/3/Metadata/schemas/H2OErrorV3", "/3/Cloud", "/3/Frames", "/3/Jobs"):
            c.request("GET", path)
            r = c.getresponse()
            r.read()
            assert r.status == 200, (path, r.status)
        c.request("POST", "/4/sessions")
        r = c.getresponse()
        assert r.status == 200
        return r.read()

    t = time.time()
    with concurrent.futures.ThreadPoolExecutor(100) as pool:
        sessions = set(pool.map(one, range(100)))
    assert len(sessions) == 100, len(sessions)
    print(f"100 clients at once: all answered in {time.time() - t:.2f} s")


def random_bytes():
    """10,000 random requests, over every route that the server lists."""
    import json

    rng = random.Random(20261122)
    routes = [(r["http_method"], r["url_pattern"]) for r in json.load(urllib.request.urlopen(url + "/3/Metadata/endpoints"))["routes"]]
    routes = [r for r in routes if r[1] != "/3/Shutdown"]
    kinds = ["application/x-www-form-urlencoded", "application/json", "multipart/form-data; boundary=x", "\x01"]
    words = ["frame_id", "ast", "path", "paths", "source_frames", "training_frame", "model_id", "session_id", "row_count", "ntrees", "key", "destination_frame"]
    counts = {}
    c = http.client.HTTPConnection(host, timeout=60)
    t = time.time()
    for i in range(10_000):
        method, pattern = routes[i % len(routes)]
        blob = bytes(rng.randrange(256) for _ in range(rng.randrange(60)))
        path = pattern
        while "{" in path:
            a, b = path.index("{"), path.index("}")
            path = path[:a] + urllib.parse.quote(bytes(rng.randrange(256) for _ in range(rng.randrange(1, 12))), safe="") + path[b + 1 :]
        shape = rng.randrange(3)
        body = blob if shape == 0 else urllib.parse.urlencode({rng.choice(words): blob for _ in range(3)}).encode()
        if shape == 2:
            path += "?" + body.decode("latin1").replace(" ", "+")
        try:
            c.request(method, path, body if method == "POST" else None, {"Content-Type": rng.choice(kinds[:3])})
            r = c.getresponse()
            r.read()
            counts[r.status] = counts.get(r.status, 0) + 1
        except (http.client.HTTPException, OSError):
            # Not even HTTP: the connection may be dropped, the server not.
            counts["dropped"] = counts.get("dropped", 0) + 1
            c.close()
            c = http.client.HTTPConnection(host, timeout=60)
    alive()
    assert not any(isinstance(k, int) and k >= 500 for k in counts), counts
    print(f"10,000 random requests over {len(routes)} routes in {time.time() - t:.1f} s: {counts}")


client_killed_in_a_job()
hundred_clients()
random_bytes()
alive()
urllib.request.urlopen(urllib.request.Request(url + "/3/DKV", method="DELETE"))
