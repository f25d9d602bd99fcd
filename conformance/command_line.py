"""`ochre train` prints the same metrics as the server gives for the same seed: command_line.py URL OCHRE"""
import json
import os
import re
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request

os.environ["DO_NOT_TRACK"] = "1"
import h2o  # noqa: E402
from h2o.estimators import H2OGradientBoostingEstimator as GBM  # noqa: E402

url, ochre = sys.argv[1:3]
data = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data", "AirlinesTrain.csv.zip")
params = {"ntrees": 10, "max_depth": 5, "seed": 42, "score_tree_interval": 10}
h2o.connect(url=url, verbose=False)
h2o.no_progress()
air = h2o.import_file(data)
ignored = ["IsDepDelayed_REC", "DepTime", "ArrTime"]
m = GBM(ignored_columns=ignored, **params)
m.train(y="IsDepDelayed", training_frame=air)
sets = [f"--set={k}={v}" for k, v in params.items()] + ["--set=ignored_columns=" + str(ignored).replace("'", '"')]
for threads in ("1", "2", "3"):
    out = subprocess.run([ochre, "train", "gbm", data, "--response", "IsDepDelayed", "--nthreads", threads, *sets], capture_output=True, text=True, check=True).stdout
    told = {k: float(v) for k, v in re.findall(r"^  (\w+) +([\d.eE+-]+)$", out, re.M)}
    for name, want in {"auc": m.auc(), "logloss": m.logloss(), "rmse": m.rmse()}.items():
        assert abs(told[name] - want) < 1e-11, (threads, name, told[name], want)

# The scoring service gives what the server gives, notes what it does not know and refuses what cannot be meant.
with tempfile.TemporaryDirectory() as at:
    zipped = m.download_mojo(at)
    service = subprocess.Popen([ochre, "score", zipped, "--serve", "--port", "0"], stderr=subprocess.PIPE, text=True)
    try:
        base = re.search(r"http://\S+(?=/score)", service.stderr.readline()).group()

        def ask(path, body=None):
            request = urllib.request.Request(base + path, None if body is None else json.dumps(body).encode())
            try:
                with urllib.request.urlopen(request, timeout=20) as reply:
                    return reply.status, reply.read().decode()
            except urllib.error.HTTPError as e:
                return e.code, e.read().decode()

        head = air[:50, :]
        listed = h2o.as_list(head, use_pandas=False)
        types = air.types
        rows = [{c: None if v == "" else v if types[c] == "enum" else float(v) for c, v in zip(listed[0], row)} for row in listed[1:]]
        status, text = ask("/score", {"rows": rows})
        got = json.loads(text)
        assert status == 200 and len(got["predictions"]) == 50, text[:300]
        want = h2o.as_list(m.predict(head), use_pandas=False, header=False)
        for p, w in zip(got["predictions"], want):
            assert p["predict"] == w[0] and abs(p["YES"] - float(w[2])) < 1e-12, (p, w)
        status, text = ask("/score", {"rows": [dict(rows[0], Origin="NOWHERE")]})
        assert status == 200 and "does not know 'NOWHERE' in 'Origin'" in text, text
        status, text = ask("/score", {"rows": [dict(rows[0], Distance="far")]})
        assert status == 400 and "row 0: 'Distance' is a number to the model" in text, text
        assert ask("/score", [])[0] == 400 and ask("/ready")[1] == "ready"
        added = json.loads(ask("/score", {"rows": rows[:1], "contributions": True})[1])["predictions"][0]
        assert "BiasTerm" in added, added
        assert "ochre_score_rows_total 52" in ask("/metrics")[1], ask("/metrics")[1]
        assert "Distance" in json.loads(ask("/openapi.json")[1])["paths"]["/score"]["post"]["requestBody"]["content"]["application/json"]["schema"]["properties"]["rows"]["items"]["properties"]
    finally:
        service.terminate()
        assert service.wait(10) == 0
h2o.remove_all()
print("command line: equal to the server with 1, 2 and 3 threads")
