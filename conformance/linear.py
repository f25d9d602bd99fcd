"""Generalized linear models against those of the reference: linear.py URL [--make]

With --make the server is the reference, and what it answers is written to linear.json. Without, the server is compared
with that file. Every case is fitted to convergence, so that what is compared is the optimum and not the way to it.
"""
import json
import math
import os
import sys

import h2o
from h2o.estimators import H2OGeneralizedLinearEstimator as Glm

HERE = os.path.dirname(os.path.abspath(__file__))
PREDICTORS = ["AGE", "RACE", "DPROS", "PSA", "VOL", "GLEASON"]
TIGHT = dict(beta_epsilon=1e-10, objective_epsilon=1e-14, gradient_epsilon=1e-12, max_iterations=300)

# Where the reference stops short of the optimum (checked by Newton's method to 1e-15), or, with several classes, its line
# search near 1e-6 of it.
LOOSE = {"poisson ridge": 2e-3, "gamma ridge": 1e-3, "multinomial plain": 1e-4, "multinomial unscaled": 1e-4,
         "multinomial weights": 1e-4, "multinomial ridge": 1e-4, "multinomial likelihood": 1e-4, "quasibinomial weights": 1e-3, "gaussian elastic net": 1e-4,
         "poisson lasso": 1e-2, "poisson elastic net": 2e-3, "tweedie lasso": 0.1, "gaussian non-negative": 5e-2,
         "gaussian bounds": 5e-2, "gaussian offset, penalty left open": 0.1}


def frames():
    f = h2o.import_file(os.path.join(HERE, "data", "prostate.csv"))
    for c in ("CAPSULE", "RACE", "DPROS", "DCAPS"):
        f[c] = f[c].asfactor()
    f["CAP"] = f["CAPSULE"].asnumeric()
    f["SHARE"] = f["CAP"] * 0.6 + 0.2
    f["W"] = f["AGE"] / 60
    f["OFF"] = f["VOL"] / 100
    f["AGE2"] = f["AGE"] * 2 + 1
    holes = h2o.deep_copy(f, "holes")
    holes["AGE"] = (holes["ID"] % 7 == 0).ifelse(float("nan"), holes["AGE"])
    holes["PSA"] = (holes["ID"] % 11 == 0).ifelse(float("nan"), holes["PSA"])
    return {"whole": f, "positive": f[f["PSA"] > 0, :], "holes": holes}


def table(**columns):
    return lambda: h2o.H2OFrame(columns)


def cases():
    """Name, frame, response, predictors, parameters, and what is compared besides the coefficients."""
    response = {
        "gaussian": "VOL", "binomial": "CAPSULE", "poisson": "GLEASON", "gamma": "PSA", "tweedie": "VOL",
        "negativebinomial": "GLEASON", "multinomial": "DPROS", "fractionalbinomial": "SHARE", "quasibinomial": "CAP",
    }
    more = {"tweedie": dict(tweedie_variance_power=1.5, tweedie_link_power=0.0), "negativebinomial": dict(theta=0.1)}

    def case(name, family, frame=None, x=None, **p):
        y = response[family]
        x = [c for c in (x or PREDICTORS) if c != y]
        frame = frame or ("positive" if family == "gamma" else "whole")
        return name, frame, y, x, {**dict(family=family, seed=1), **more.get(family, {}), **p}

    for family in response:
        yield case(f"{family} plain", family, lambda_=0)
        yield case(f"{family} unscaled", family, lambda_=0, standardize=False)
        yield case(f"{family} ridge", family, alpha=0, lambda_=0.1)
        if family != "negativebinomial":  # where the reference does not move from 0
            yield case(f"{family} weights", family, lambda_=0, weights_column="W")
    # The reference stops early where an L1 penalty meets IRLSM; its coordinate descent goes to the optimum.
    for family in ("gaussian", "binomial", "poisson", "tweedie", "negativebinomial"):
        yield case(f"{family} lasso", family, alpha=1, lambda_=0.05, solver="COORDINATE_DESCENT")
        yield case(f"{family} elastic net", family, alpha=0.5, lambda_=0.02, solver="COORDINATE_DESCENT")
    for family in ("gaussian", "binomial", "poisson", "gamma", "tweedie"):
        if family != "gamma":  # where the reference does not move from 0
            yield case(f"{family} offset", family, lambda_=0, offset_column="OFF")
        yield case(f"{family} no intercept", family, x=["AGE", "RACE", "PSA", "GLEASON"], lambda_=0, intercept=False)
    for family in ("gaussian", "binomial", "poisson", "gamma", "tweedie", "negativebinomial"):
        yield case(f"{family} p-values", family, lambda_=0, compute_p_values=True)
    for family in ("gamma", "tweedie"):
        for method in ("deviance", "ml"):
            yield case(f"{family} dispersion {method}", family, lambda_=0, compute_p_values=True, dispersion_parameter_method=method)
    for family in ("gaussian", "binomial", "poisson", "gamma", "tweedie", "multinomial"):
        yield case(f"{family} likelihood", family, lambda_=0, calc_like=True)
    for family, link in (("gaussian", "log"), ("gamma", "log"), ("gamma", "identity")):
        yield case(f"{family} {link}", family, lambda_=0, link=link, x=["AGE", "RACE", "GLEASON"])
    for family in ("gaussian", "binomial"):
        yield case(f"{family} holes filled", family, "holes", lambda_=0)
        yield case(f"{family} holes skipped", family, "holes", lambda_=0, missing_values_handling="Skip")
        plug = table(AGE=[60.0], PSA=[10.0], VOL=[5.0], GLEASON=[6.0])
        yield case(f"{family} holes plugged", family, "holes", x=["AGE", "PSA", "VOL", "GLEASON"], lambda_=0,
                   missing_values_handling="PlugValues", plug_values=plug)
        yield case(f"{family} non-negative", family, lambda_=0, non_negative=True)
        yield case(f"{family} numbers interact", family, x=["AGE", "PSA", "GLEASON"], lambda_=0, interactions=["AGE", "PSA"])
        yield case(f"{family} number and category interact", family, lambda_=0, interactions=["AGE", "DPROS"])
        yield case(f"{family} pairs interact", family, lambda_=0, interaction_pairs=[("AGE", "PSA"), ("GLEASON", "PSA")])
        yield case(f"{family} inflation", family, lambda_=0, generate_variable_inflation_factors=True)
        bounds = table(names=["AGE", "PSA"], lower_bounds=[-0.01, 0.01], upper_bounds=[0.01, 0.02])
        yield case(f"{family} bounds", family, lambda_=0, beta_constraints=bounds)
        pull = table(names=["AGE", "PSA"], beta_given=[0.1, 0.2], rho=[0.1, 0.2])
        yield case(f"{family} pulled", family, x=["AGE", "PSA", "GLEASON"], lambda_=0, beta_constraints=pull)
    yield case("binomial prior", "binomial", lambda_=0, prior=0.3)  # whose metrics the reference takes before the correction
    yield case("binomial control variables", "binomial", lambda_=0, control_variables=["RACE", "PSA"])
    for family in ("gaussian", "binomial"):
        folds = dict(nfolds=4, fold_assignment="Modulo", solver="COORDINATE_DESCENT")
        yield case(f"{family} folds choose a penalty", family, lambda_search=True, nlambdas=6, alpha=0.5, **folds)
        yield case(f"{family} folds choose a mixture", family, lambda_=[0.3, 0.1, 0.03, 0.01], alpha=[0.2, 0.8], **folds)
    # The largest penalty is that of the model of intercept and offset.
    for family in ("gaussian", "binomial", "poisson"):
        yield case(f"{family} offset, penalty left open", family, standardize=False, offset_column="OFF", solver="COORDINATE_DESCENT")
    for family in ("gaussian", "binomial"):
        yield case(f"{family} weights unscaled", family, lambda_=0, weights_column="W", standardize=False)
        yield case(f"{family} weights, holes filled", family, "holes", lambda_=0, weights_column="W")
        yield case(f"{family} no intercept, folds", family, x=["AGE", "RACE", "PSA", "GLEASON"], lambda_=0, intercept=False,
                   nfolds=3, fold_assignment="Modulo")
    for family in ("gaussian", "binomial", "gamma", "poisson"):
        yield case(f"{family} folds", family, lambda_=0, nfolds=3, fold_assignment="Modulo")
    yield case("binomial without offset", "binomial", lambda_=0, offset_column="OFF", remove_offset_effects=True)


def scalar(v):
    return None if v is None or (isinstance(v, float) and math.isnan(v)) else v


def outcome(m, frame):
    out = m._model_json["output"]
    got = {"coefficients": [[r[0]] + [scalar(v) for v in r[1:]] for r in out["coefficients_table"]._cell_values],
           "columns": list(out["coefficients_table"].col_header)}
    metrics = out["training_metrics"]._metric_json
    for k in ("residual_deviance", "null_deviance", "AIC", "MSE", "logloss", "loglikelihood"):
        got[k] = scalar(metrics.get(k))
    if m.actual_params.get("compute_p_values") and not m.actual_params.get("calc_like"):
        got["dispersion"] = out["dispersion"]
    if m.actual_params.get("nfolds"):
        got["chosen"] = [out["lambda_best"], out["alpha_best"], out["lambda_1se"]]
        held_out = out["cross_validation_metrics"]._metric_json
        got["held out"] = scalar(held_out["residual_deviance"])
        got["held out null"] = [scalar(held_out[k]) for k in ("null_deviance", "null_degrees_of_freedom", "residual_degrees_of_freedom")]
    family = m.actual_params["family"]
    if not m.actual_params.get("calc_like"):
        got.pop("loglikelihood")
        if family == "negativebinomial":  # the reference counts coefficients only
            got.pop("AIC")
    if m.actual_params.get("prior", -1) > 0:
        for k in ("residual_deviance", "null_deviance", "AIC", "MSE", "logloss"):
            got.pop(k)
    if not m.actual_params.get("offset_column") and family not in ("fractionalbinomial", "negativebinomial"):
        got["elsewhere"] = scalar(m.model_performance(frame[100:200, :])._metric_json["null_deviance"])
    if m.actual_params.get("remove_offset_effects"):
        got.pop("null_deviance")
    if family == "multinomial":  # coefficients may move together
        got.pop("coefficients")
    if family == "fractionalbinomial":  # measured as classes by the reference, as numbers by ochre
        for k in ("residual_deviance", "null_deviance", "AIC", "MSE", "logloss"):
            got.pop(k)
    p = m.predict(frame[0:20, :])[-1].as_data_frame(use_pandas=False, header=False)
    got["predictions"] = [[None if v == "" else float(v) for v in row] for row in p]
    return got


def run():
    data = frames()
    for name, frame, y, x, p in cases():
        p = {k: v() if callable(v) else v for k, v in p.items()}
        m = Glm(**{**TIGHT, **p})
        m.train(x=x, y=y, training_frame=data[frame])
        yield name, outcome(m, data[frame])


def differences(want, got, tolerance):
    def walk(a, b, path):
        if isinstance(a, dict):
            for k in a:
                yield from walk(a[k], b.get(k), f"{path} {k}")
        elif isinstance(a, list):
            if len(a) != len(b or []):
                yield f"{path}: {len(a)} items, got {len(b or [])}"
            else:
                for i, (u, v) in enumerate(zip(a, b)):
                    yield from walk(u, v, f"{path} {a[0] if a and isinstance(a[0], str) else ''}[{i}]")
        elif isinstance(a, (int, float)) and not isinstance(a, bool):
            if not isinstance(b, (int, float)) or abs(a - b) > tolerance * max(1.0, abs(a)):
                yield f"{path}: {a!r}, got {b!r}"
        elif a is not None and a != b:
            yield f"{path}: {a!r}, got {b!r}"

    return list(walk(want, got, ""))


def main():
    h2o.connect(url=sys.argv[1], verbose=False)
    h2o.no_progress()
    path = os.path.join(HERE, "linear.json")
    if "--make" in sys.argv:
        done = {}
        for name, got in run():
            done[name] = got
        with open(path, "w") as f:
            json.dump(done, f, indent=None, separators=(",", ":"))
            f.write("\n")
        print(f"linear: {len(done)} cases written")
        return
    with open(path) as f:
        wanted = json.load(f)
    bad = 0
    for name, got in run():
        found = differences(wanted[name], got, LOOSE.get(name, 2e-6))
        bad += bool(found)
        for line in found[:4]:
            print(f"{name}:{line}")
    print(f"linear: {len(wanted)} models compared with the reference, {bad} differ")
    sys.exit(bool(bad))


main()
