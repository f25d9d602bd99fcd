"""The main job as the official Python client does it: import, munge, train, measure, score.

`run(url, data)` drives one server and returns what it answered as plain numbers and texts, so that two servers, or a
server and stored answers, can be compared.
"""
import os
import tempfile
import warnings

os.environ["DO_NOT_TRACK"] = "1"
warnings.filterwarnings("ignore")
import h2o  # noqa: E402
from h2o.estimators import H2OGeneralizedLinearEstimator as GLM  # noqa: E402
from h2o.estimators import H2OGradientBoostingEstimator as GBM  # noqa: E402
from h2o.estimators import H2OKMeansEstimator as KMeans  # noqa: E402


def rows(frame, n=None):
    """Cells of a frame as the client downloads them."""
    cells = frame.as_data_frame(use_pandas=False, header=False)
    return cells if n is None else cells[:n]


def numbers(frame, column):
    return [float(r[0]) if r[0] != "" else None for r in rows(frame[column])]


def described(frame):
    """Rollups of every column, from the frame itself."""
    out = {}
    for name in frame.columns:
        d = frame[name].summary(return_data=True)[name]
        out[name] = {k: d[k] for k in ("type", "mins", "maxs", "mean", "sigma", "zero_count", "missing_count")}
    return out


def binomial(perf):
    return {k: getattr(perf, k)() for k in ("auc", "logloss", "rmse", "r2", "aucpr", "mean_per_class_error")}


def regression(perf):
    return {k: getattr(perf, k)() for k in ("mse", "mae", "r2", "mean_residual_deviance")}


def multinomial(perf):
    return {"logloss": perf.logloss(), "mse": perf.mse(), "mean_per_class_error": perf.mean_per_class_error()}


def munging(data):
    out = {}
    p = h2o.import_file(os.path.join(data, "prostate.csv"), destination_frame="prostate")
    out["prostate"] = described(p)
    iris = h2o.import_file(os.path.join(data, "iris_wheader.csv"), destination_frame="iris")
    out["iris"] = described(iris)
    cars = h2o.import_file(os.path.join(data, "cars.csv"), destination_frame="cars")
    out["cars_types"] = cars.types
    air = h2o.import_file(os.path.join(data, "AirlinesTrain.csv.zip"), destination_frame="airlines")
    out["airlines"] = described(air)
    out["airlines_domains"] = [air[c].levels() for c in air.columns if air.types[c] == "enum"]
    out["head"] = rows(p, 5)
    old = p[p["AGE"] > 65]
    out["old_shape"] = list(old.shape)
    out["old_mean"] = old["PSA"].mean()
    out["sd"] = p["PSA"].sd()
    out["quantile"] = rows(p["PSA"].quantile([0.1, 0.5, 0.9]))
    out["arithmetic"] = rows((p["AGE"] * 2 - p["PSA"] / 3) ** 2, 5)
    out["ifelse"] = rows((p["AGE"] > 65).ifelse("old", "young"), 5)
    out["is_na"] = p["VOL"].isna().sum()
    out["table"] = rows(p["RACE"].table())
    out["table2"] = rows(p["RACE"].asfactor().table(p["CAPSULE"].asfactor()))
    out["unique"] = rows(iris["class"].unique())
    out["levels"] = iris["class"].levels()
    out["runif"] = [float(r[0]) for r in rows(p.runif(42), 20)]
    a, b = p.split_frame([0.7], seed=5)
    out["split"] = [a.nrow, b.nrow, rows(a, 3)]
    out["cbind"] = list(p[["AGE"]].cbind(p[["PSA"]]).columns)
    out["rbind"] = rows(p[0:2, :].rbind(p[378:380, :]))
    p2 = p[:, :]
    p2["NEW"] = p2["AGE"] + 1
    p2[p2["AGE"] > 70, "NEW"] = 0
    out["assigned"] = numbers(p2, "NEW")[:10]
    out["as_numeric"] = numbers(p["AGE"].asfactor().asnumeric(), 0)[:5]
    g = iris.group_by("class").mean("sepal_len").sum("sepal_wid").count().min("petal_len").max("petal_len").sd("petal_wid").get_frame()
    out["group_by"] = [list(g.columns), rows(g)]
    with tempfile.TemporaryDirectory() as d:
        path = os.path.join(d, "out.csv")
        h2o.download_csv(iris[0:3, :], path)
        with open(path) as f:
            out["download"] = f.read().split("\n")[:4]
    return out


def gbm_cases(data):
    out = {}
    p = h2o.get_frame("prostate")
    p["CAPSULE"] = p["CAPSULE"].asfactor()
    p["RACE"] = p["RACE"].asfactor()
    p["DCAPS"] = p["DCAPS"].asfactor()
    tr, va = p.split_frame([0.8], seed=11)
    x = ["AGE", "RACE", "DPROS", "DCAPS", "PSA", "VOL", "GLEASON"]
    m = GBM(ntrees=30, max_depth=5, seed=7, score_tree_interval=10)
    m.train(x, "CAPSULE", tr, validation_frame=va)
    out["bernoulli"] = {
        "p1": numbers(m.predict(va), 2), "train": binomial(m.model_performance()), "valid": binomial(m.model_performance(va)),
        "label": [r[0] for r in rows(m.predict(va)["predict"])], "varimp": {v[0]: v[1] for v in m.varimp()},

        "summary": [int(v) for v in (m.summary().cell_values[0][1], m.summary().cell_values[0][4], m.summary().cell_values[0][5])],
    }
    i = h2o.get_frame("iris")
    m = GBM(ntrees=10, max_depth=4, seed=7, score_tree_interval=10)
    m.train(["sepal_len", "sepal_wid", "petal_len", "petal_wid"], "class", i)
    out["multinomial"] = {"p": [numbers(m.predict(i), k) for k in (1, 2, 3)], "train": multinomial(m.model_performance())}
    c = h2o.get_frame("cars")
    m = GBM(ntrees=20, max_depth=5, min_rows=5, learn_rate=0.2, seed=7, score_tree_interval=20)
    m.train(["cylinders", "displacement", "power", "weight", "acceleration", "year"], "economy", c)
    out["gaussian"] = {"predict": numbers(m.predict(c), 0), "train": regression(m.model_performance())}
    for family in ("poisson", "gamma", "tweedie"):
        m = GBM(ntrees=15, max_depth=4, seed=7, distribution=family, score_tree_interval=15)
        m.train(["displacement", "power", "weight", "acceleration", "year"], "cylinders", c)
        out[family] = {"predict": numbers(m.predict(c), 0), "train": regression(m.model_performance())}
    air = h2o.get_frame("airlines")
    test = h2o.import_file(os.path.join(data, "AirlinesTest.csv.zip"))
    m = GBM(ntrees=20, max_depth=5, seed=7, score_tree_interval=20)
    m.train(["Origin", "Dest", "UniqueCarrier", "fDayofMonth", "fDayOfWeek", "Distance"], "IsDepDelayed", air, validation_frame=test)
    out["airlines"] = {"p1": numbers(m.predict(test), 2)[:500], "train_auc": m.auc(), "valid_logloss": m.logloss(valid=True)}
    m = GBM(ntrees=10, max_depth=4, seed=7, sample_rate=0.7, col_sample_rate=0.6, score_tree_interval=10)
    m.train(x, "CAPSULE", tr)
    out["sampled"] = {"p1": numbers(m.predict(va), 2)}
    tr["W"] = tr["AGE"] / 50
    m = GBM(ntrees=10, max_depth=4, seed=7, weights_column="W", score_tree_interval=10)
    m.train(x, "CAPSULE", tr)
    out["weighted"] = {"p1": numbers(m.predict(va), 2)}
    return out


def glm_cases():
    out = {}
    p = h2o.get_frame("prostate")
    tr, va = p.split_frame([0.8], seed=11)
    x = ["AGE", "RACE", "DPROS", "DCAPS", "PSA", "VOL", "GLEASON"]

    def fit(name, y, frame, xs, valid=None, **kw):
        m = GLM(seed=3, **kw)
        m.train(xs, y, frame, validation_frame=valid)
        out[name] = {"coef": m.coef(), "null_deviance": m.null_deviance(), "residual_deviance": m.residual_deviance()}
        return m

    m = fit("binomial", "CAPSULE", tr, x, va, family="binomial", lambda_=0)
    out["binomial"]["p1"] = numbers(m.predict(va), 2)
    out["binomial"]["train"] = binomial(m.model_performance())
    out["binomial"]["valid"] = binomial(m.model_performance(va))
    out["binomial"]["aic"] = m.aic()
    fit("binomial_default", "CAPSULE", tr, x, family="binomial", alpha=0)
    fit("binomial_ridge", "CAPSULE", tr, x, family="binomial", alpha=0, lambda_=0.01)
    fit("binomial_skip", "CAPSULE", tr, x, family="binomial", lambda_=0, missing_values_handling="Skip")
    c = h2o.get_frame("cars")
    xs = ["cylinders", "displacement", "power", "weight", "acceleration", "year"]
    m = fit("gaussian", "economy", c, xs, family="gaussian", lambda_=0)
    out["gaussian"]["train"] = regression(m.model_performance())
    fit("gaussian_ridge", "economy", c, xs, family="gaussian", alpha=0, lambda_=0.1)
    fit("gaussian_raw", "economy", c, xs, family="gaussian", lambda_=0, standardize=False)
    fit("gaussian_through_zero", "economy", c, xs, family="gaussian", lambda_=0, intercept=False)
    fit("poisson", "cylinders", c, ["displacement", "power", "weight"], family="poisson", lambda_=0)
    # The reference's IRLSM stops its inner solver early; its coordinate descent with tight tolerances finds the optimum.
    tight = {"solver": "COORDINATE_DESCENT", "beta_epsilon": 1e-12, "objective_epsilon": 1e-15, "gradient_epsilon": 1e-12}
    fit("lasso", "economy", c, xs, family="gaussian", alpha=1, lambda_=0.05, **tight)
    fit("elastic_net", "CAPSULE", tr, x, family="binomial", alpha=0.5, lambda_=0.01, **tight)
    i = h2o.get_frame("iris")
    m = fit("multinomial", "class", i, ["sepal_len", "sepal_wid", "petal_len", "petal_wid"], family="multinomial", solver="IRLSM", alpha=0, lambda_=0.01,
            beta_epsilon=1e-10, objective_epsilon=1e-14, gradient_epsilon=1e-10, max_iterations=500)
    # Without a penalty on them, the intercepts are known up to a common constant.
    coef = out["multinomial"]["coef"]
    first = next(iter(coef.values()))["Intercept"]
    for c in coef.values():
        c["Intercept"] -= first
    out["multinomial"]["train"] = multinomial(m.model_performance())
    return out


def kmeans_cases():
    i = h2o.get_frame("iris")
    x = ["sepal_len", "sepal_wid", "petal_len", "petal_wid"]
    points = h2o.H2OFrame([[4.9, 3.0, 1.4, 0.2], [5.6, 2.5, 3.9, 1.1], [6.5, 3.0, 5.2, 2.0]], column_names=x)
    out = {}
    for standardize in (True, False):
        m = KMeans(k=3, user_points=points, standardize=standardize, max_iterations=50, seed=1)
        m.train(x, training_frame=i)
        out["standardized" if standardize else "raw"] = {
            "within": m.tot_withinss(), "total": m.totss(), "between": m.betweenss(), "each": m.withinss(), "sizes": m.size(),
            "centers": m.centers(), "predict": numbers(m.predict(i), 0),
        }
    return out


def run(url, data):
    h2o.connect(url=url, verbose=False, strict_version_check=True)
    h2o.no_progress()
    h2o.remove_all()
    out = {"munging": munging(data), "gbm": gbm_cases(data), "glm": glm_cases(), "kmeans": kmeans_cases()}
    h2o.remove_all()
    out["left"] = len(h2o.api("GET /3/Frames")["frames"]) + len(h2o.api("GET /3/Models")["models"])
    return out
