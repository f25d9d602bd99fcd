"""Linear models, timed on the same files in one run: ochre and the reference server through the official client, against
scikit-learn and statsmodels. Objective values stand beside the times: a time means something only where they agree.

    python bench/linear.py airline.csv --response dep_delayed_15min [--cases binomial,search,multinomial,wide,cox] [--wide 20000]
        [--only ochre,reference,peers]

Needs `pip install h2o==3.46.0.11 scikit-learn statsmodels numpy pandas` and Java. The response has the classes N and Y; the
other files are made here, from seeds. Prints seconds of training and the objective: mean log loss, mean squared error, or
the log likelihood.
"""
import argparse
import os
import sys
import tempfile
import time
import warnings

from servers import ochre, reference, serving

warnings.filterwarnings("ignore")
import h2o  # noqa: E402
import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
from h2o.estimators import H2OCoxProportionalHazardsEstimator as Cox, H2OGeneralizedLinearEstimator as Glm  # noqa: E402

parser = argparse.ArgumentParser()
parser.add_argument("airline")
parser.add_argument("--response", required=True)
parser.add_argument("--cases", default="binomial,search,multinomial,wide,cox")
parser.add_argument("--wide", type=int, default=20000)
parser.add_argument("--only", default="ochre,reference,peers")
args = parser.parse_args()
work = tempfile.mkdtemp()
rng = np.random.default_rng(7)


def table(name, columns):
    path = os.path.join(work, name + ".csv")
    pd.DataFrame(columns).to_csv(path, index=False, float_format="%.5g")
    return path


def numbers(rows, width):
    return rng.standard_normal((rows, width)).astype(np.float32)


def named(x):
    return {f"x{j}": x[:, j] for j in range(x.shape[1])}


class Case:
    def __init__(self, name, path, y, model, objective, peer, factor=False):
        self.__dict__.update(locals())


def log_loss(m):
    return m.logloss()


def cases():
    from sklearn.linear_model import Lasso, LogisticRegression, lasso_path
    from sklearn.metrics import log_loss as loss

    wanted = args.cases.split(",")
    if "binomial" in wanted:
        def peer(path):
            d = pd.read_csv(path)
            y = (d.pop(args.response) == "Y").to_numpy()
            x = pd.get_dummies(d, drop_first=True, sparse=False, dtype=np.float32)
            x = ((x - x.mean()) / x.std()).to_numpy(np.float32)
            return lambda: loss(y, LogisticRegression(penalty=None, solver="newton-cholesky").fit(x, y).predict_proba(x))
        yield Case("binomial, categories, 1 M rows", args.airline, args.response, lambda: Glm(family="binomial", lambda_=0), log_loss, peer, True)
    if "search" in wanted:
        x = numbers(500_000, 20)
        y = x[:, :5] @ np.array([3, -2, 1, 0.5, 0.1], np.float32) + rng.standard_normal(500_000)
        path = table("search", named(x) | {"y": y})

        def peer(path):
            d = pd.read_csv(path)
            y, x = d.pop("y").to_numpy(), d.to_numpy()

            def fit():
                alphas, coefs, _ = lasso_path(x - x.mean(0), y - y.mean(), n_alphas=100, eps=1e-4)
                return float(np.mean((y - y.mean() - (x - x.mean(0)) @ coefs[:, -1]) ** 2))
            return fit
        yield Case("gaussian, lambda search, 500,000 x 20", path, "y", lambda: Glm(lambda_search=True, alpha=1.0), lambda m: m.mse(), peer)
    if "multinomial" in wanted:
        x = numbers(100_000, 20)
        score = x @ (rng.standard_normal((20, 10)) * 0.7) + rng.gumbel(size=(100_000, 10))
        path = table("multinomial", named(x) | {"y": [f"c{k}" for k in score.argmax(1)]})

        def peer(path):
            d = pd.read_csv(path)
            y, x = d.pop("y").to_numpy(), d.to_numpy()
            return lambda: loss(y, LogisticRegression(penalty=None, solver="lbfgs", max_iter=500).fit(x, y).predict_proba(x))
        yield Case("multinomial, 10 classes, 100,000 x 20", path, "y", lambda: Glm(family="multinomial", lambda_=0), log_loss, peer, True)
    if "wide" in wanted:
        x = numbers(2_000, args.wide)
        y = x[:, :10] @ np.linspace(2, 0.2, 10) + rng.standard_normal(2_000)
        path = table("wide", named(x) | {"y": y})

        def peer(path):
            d = pd.read_csv(path)
            y, x = d.pop("y").to_numpy(), np.asfortranarray(d.to_numpy())
            x = (x - x.mean(0)) / x.std(0, ddof=1)

            def fit():
                m = Lasso(alpha=0.1, tol=1e-6).fit(x, y)
                return float(np.mean((y - m.predict(x)) ** 2))
            return fit
        yield Case(f"lasso, 2,000 x {args.wide:,}", path, "y", lambda: Glm(alpha=1.0, lambda_=0.1), lambda m: m.mse(), peer)
    if "cox" in wanted:
        x = numbers(100_000, 10)
        t = rng.exponential(np.exp(-x[:, :3] @ np.array([0.5, -0.3, 0.2])))
        stop = np.minimum(np.ceil(t * 200) / 200, 3.0)
        path = table("cox", named(x) | {"stop": stop, "event": (t < 3.0).astype(int)})

        def peer(path):
            from statsmodels.duration.hazard_regression import PHReg
            d = pd.read_csv(path)
            m = PHReg(d["stop"], d[[f"x{j}" for j in range(10)]], status=d["event"], ties="efron")
            return lambda: float(m.fit().llf)
        yield Case("CoxPH, 100,000 x 10", path, "event", lambda: Cox(stop_column="stop", ties="efron"), lambda m: m._model_json["output"]["loglik"], peer)


results = {}
todo = list(cases())
for kind in [k for k in ("ochre", "reference") if k in args.only]:
    with serving(ochre() if kind == "ochre" else reference()):
        for c in todo:
            f = h2o.import_file(c.path)
            if c.factor:
                f[c.y] = f[c.y].asfactor()
            seconds = []
            for _ in range(2):
                m = c.model()
                begun = time.time()
                m.train(y=c.y, training_frame=f)
                seconds.append(time.time() - begun)
            results[c.name, kind] = (min(seconds), c.objective(m))
            print(".", end="", file=sys.stderr, flush=True)
            h2o.remove_all()
if "peers" in args.only:
    for c in todo:
        fit = c.peer(c.path)
        begun = time.time()
        objective = fit()
        results[c.name, "peer"] = (time.time() - begun, objective)
        print(".", end="", file=sys.stderr, flush=True)
print("\nseconds and objective; ratios are others' time / ochre's")
for c in todo:
    own = results.get((c.name, "ochre"), (float("nan"),))[0]
    told = [f"{k} {results[c.name, k][0]:.2f} s ({results[c.name, k][1]:.6g}, {results[c.name, k][0] / own:.1f})" for k in ("ochre", "reference", "peer") if (c.name, k) in results]
    print(f"{c.name}: " + "; ".join(told))
