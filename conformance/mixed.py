"""Mixed models against statsmodels: mixed.py URL, or mixed.py --make to write mixed.json with statsmodels."""
import json
import os
import random
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
# Predictors whose coefficients differ from group to group, and whether groups have an intercept.
CASES = {"intercepts": ([], True), "a slope": (["a"], False), "both": (["a"], True)}


def rows():
    """40 groups of 3 to 20 rows: small groups tell an estimate that forgets their uncertainty from one that does not."""
    draw = random.Random(7)
    out = []
    for g in range(40):
        intercept, slope = draw.gauss(0, 1.5), draw.gauss(0, 0.8)
        for _ in range(3 + draw.randrange(18)):
            a, b = draw.gauss(0, 1), draw.gauss(0, 1)
            y = 2 + intercept + (1 + slope) * a - 0.5 * b + draw.gauss(0, 1)
            out.append((f"g{g:02}", a, b, y))
    return out


def make():
    import numpy as np
    from statsmodels.regression.mixed_linear_model import MixedLM

    data = rows()
    groups = np.array([r[0] for r in data])
    x = np.array([[r[1], r[2], 1.0] for r in data])
    y = np.array([r[3] for r in data])
    wanted = {}
    for name, (random_columns, intercept) in CASES.items():
        z = x[:, [0] * len(random_columns) + [2] * intercept]
        fit = MixedLM(y, x, groups=groups, exog_re=z).fit(reml=False, method=["bfgs", "powell"], gtol=1e-9)
        wanted[name] = {
            "beta": list(fit.fe_params),
            "tmat": fit.cov_re.tolist(),
            "variance": fit.scale,
            "log_likelihood": fit.llf,
            "fitted": list(fit.fittedvalues[:30]),
        }
    with open(os.path.join(HERE, "mixed.json"), "w") as f:
        json.dump(wanted, f, separators=(",", ":"))
        f.write("\n")


def check(url):
    import h2o
    from h2o.estimators import H2OHGLMEstimator
    from goldens import differences, told

    h2o.connect(url=url, verbose=False)
    h2o.no_progress()
    frame = h2o.H2OFrame([list(r) for r in rows()], column_names=["g", "a", "b", "y"], column_types=["enum", "real", "real", "real"])
    with open(os.path.join(HERE, "mixed.json")) as f:
        wanted = json.load(f)
    bad = 0
    for name, (random_columns, intercept) in CASES.items():
        m = H2OHGLMEstimator(
            group_column="g", random_columns=random_columns or None, random_intercept=intercept, em_epsilon=1e-10, max_iterations=100000, seed=1
        )
        m.train(["a", "b", "g"], "y", frame)
        out = m._model_json["output"]
        said = [float(r[0]) for r in h2o.as_list(m.predict(frame), use_pandas=False, header=False)]
        got = {
            "beta": out["beta"],
            "tmat": out["tmat"],
            "variance": out["residual_variance"],
            "log_likelihood": out["training_metrics"]._metric_json["log_likelihood"],
            "fitted": said[:30],
        }
        # Both stop a little short of the largest likelihood.
        bad += told(name, differences(wanted[name], got, "", 1e-4))
    print(f"mixed: {len(wanted)} models compared with statsmodels, {bad} differ")
    sys.exit(bad > 0)


if __name__ == "__main__":
    make() if sys.argv[1] == "--make" else check(sys.argv[1])
