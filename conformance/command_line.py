"""`ochre train` prints the same metrics as the server gives for the same seed: command_line.py URL OCHRE"""
import os
import re
import subprocess
import sys

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
h2o.remove_all()
print("command line: equal to the server with 1, 2 and 3 threads")
