"""Makes data/mojos: MOJOs of the reference server, and its own predictions of the rows they are to score.

    make_mojos.py http://127.0.0.1:54321 [name ...]

Needs a server of h2o==3.46.0.11 (h2o.jar of the Python package h2o), started on that address.
"""
import json
import pathlib
import sys

import h2o
from h2o.estimators import (
    H2OExtendedIsolationForestEstimator as Extended,
    H2OGeneralizedAdditiveEstimator as Gam,
    H2OGeneralizedLinearEstimator as Glm,
    H2OGradientBoostingEstimator as Gbm,
    H2OKMeansEstimator as KMeans,
    H2ORandomForestEstimator as Drf,
    H2ORuleFitEstimator as RuleFit,
    H2OXGBoostEstimator as XgBoost,
)

HERE = pathlib.Path(__file__).parent
OUT = HERE / "data" / "mojos"
ROWS = 120

small = dict(ntrees=6, max_depth=4, seed=11)
prostate = ["AGE", "RACE", "DPROS", "DCAPS", "PSA", "VOL", "GLEASON"]
cars = ["cylinders", "displacement", "power", "weight", "acceleration", "year"]
iris = ["sepal_len", "sepal_wid", "petal_len", "petal_wid"]
air = ["fYear", "fMonth", "fDayofMonth", "fDayOfWeek", "UniqueCarrier", "Origin", "Dest", "Distance"]

# name: (file, predictors, response, estimator)
CASES = {
    "extended": ("prostate.csv", ["AGE", "RACE", "PSA", "VOL", "GLEASON"], None, Extended(ntrees=8, seed=1, extension_level=2)),
    "gbm_bernoulli": ("prostate.csv", prostate, "CAPSULE", Gbm(**small)),
    "gbm_categories": ("AirlinesTrain.csv.zip", air, "IsDepDelayed", Gbm(ntrees=8, max_depth=6, seed=3)),
    "gbm_multinomial": ("iris_wheader.csv", iris, "class", Gbm(**small)),
    "gbm_gaussian_missing": ("cars.csv", cars, "economy", Gbm(**small)),
    "gbm_poisson": ("cars.csv", cars, "cylinders", Gbm(distribution="poisson", **small)),
    "gbm_gamma": ("cars.csv", cars, "weight", Gbm(distribution="gamma", **small)),
    "gbm_tweedie": ("cars.csv", cars, "economy", Gbm(distribution="tweedie", **small)),
    "gbm_laplace": ("cars.csv", cars, "economy", Gbm(distribution="laplace", **small)),
    "gbm_huber": ("cars.csv", cars, "economy", Gbm(distribution="huber", **small)),
    "gbm_sampled": ("prostate.csv", prostate, "CAPSULE", Gbm(sample_rate=0.6, col_sample_rate=0.6, **small)),
    "gbm_offset": ("prostate.csv", ["AGE", "RACE", "PSA", "GLEASON"], "CAPSULE", Gbm(offset_column="DPROS", **small)),
    "drf_binomial": ("prostate.csv", prostate, "CAPSULE", Drf(ntrees=6, seed=11)),
    "drf_double": ("prostate.csv", prostate, "CAPSULE", Drf(ntrees=6, seed=11, binomial_double_trees=True)),
    "drf_categories": ("AirlinesTrain.csv.zip", air, "IsDepDelayed", Drf(ntrees=4, max_depth=9, seed=3)),
    "drf_regression": ("cars.csv", cars, "economy", Drf(ntrees=6, seed=11)),
    "drf_multinomial": ("iris_wheader.csv", iris, "class", Drf(ntrees=6, seed=11)),
    "drf_extremely_random": ("prostate.csv", prostate, "CAPSULE", Drf(ntrees=6, seed=11, histogram_type="Random")),
    "gbm_one_hot": ("AirlinesTrain.csv.zip", air, "IsDepDelayed", Gbm(categorical_encoding="one_hot_explicit", **small)),
    "gbm_binary": ("AirlinesTrain.csv.zip", air, "IsDepDelayed", Gbm(categorical_encoding="binary", **small)),
    "gbm_limited": ("AirlinesTrain.csv.zip", air, "IsDepDelayed", Gbm(categorical_encoding="enum_limited", **small)),
    "gbm_sorted": ("AirlinesTrain.csv.zip", air, "IsDepDelayed", Gbm(categorical_encoding="sort_by_response", **small)),
    "gbm_labels_offset": ("prostate.csv", ["RACE", "DCAPS", "PSA", "GLEASON"], "CAPSULE", Gbm(categorical_encoding="label_encoder", offset_column="DPROS", **small)),
    "drf_one_hot": ("prostate.csv", prostate, "CAPSULE", Drf(ntrees=6, seed=11, categorical_encoding="one_hot_explicit")),
    "xgb_binomial": ("prostate.csv", prostate, "CAPSULE", XgBoost(**small)),
    "xgb_dart": ("cars.csv", cars, "weight", XgBoost(booster="dart", rate_drop=0.5, one_drop=True, **small)),
    "xgb_multinomial": ("iris_wheader.csv", iris, "class", XgBoost(**small)),
    "xgb_sparse": ("AirlinesTrain.csv.zip", air, "IsDepDelayed", XgBoost(dmatrix_type="sparse", **small)),
    "xgb_poisson": ("cars.csv", cars, "cylinders", XgBoost(distribution="poisson", **small)),
    "xgb_linear": ("prostate.csv", prostate, "CAPSULE", XgBoost(booster="gblinear", **small)),
    "xgb_offset": ("prostate.csv", ["AGE", "RACE", "PSA", "GLEASON"], "CAPSULE", XgBoost(offset_column="DPROS", **small)),
    "glm_binomial": ("prostate.csv", prostate, "CAPSULE", Glm(family="binomial")),
    "glm_gaussian": ("cars.csv", cars, "economy", Glm(lambda_=0)),
    "glm_poisson": ("cars.csv", cars, "cylinders", Glm(family="poisson")),
    "glm_gamma": ("cars.csv", cars, "weight", Glm(family="gamma", link="log")),
    "glm_gamma_inverse": ("cars.csv", cars, "economy", Glm(family="gamma", link="inverse")),
    "glm_tweedie": ("cars.csv", cars, "economy", Glm(family="tweedie", tweedie_variance_power=1.5, tweedie_link_power=0.5)),
    "glm_negativebinomial": ("cars.csv", cars, "cylinders", Glm(family="negativebinomial", link="log", theta=0.1)),
    "glm_multinomial": ("iris_wheader.csv", iris, "class", Glm(family="multinomial")),
    "glm_categories": ("AirlinesTrain.csv.zip", air, "IsDepDelayed", Glm(family="binomial", seed=3)),
    "glm_offset": ("prostate.csv", ["AGE", "RACE", "PSA", "GLEASON"], "CAPSULE", Glm(family="binomial", offset_column="DPROS")),
    "gam_cubic": ("prostate.csv", ["RACE", "DPROS", "GLEASON"], "CAPSULE", Gam(family="binomial", gam_columns=["PSA", "AGE"], num_knots=[5, 6], bs=[0, 0], scale=[0.1, 0.2])),
    "gam_rising": ("cars.csv", ["cylinders", "year"], "economy", Gam(gam_columns=["weight", "displacement"], num_knots=[5, 6], bs=[2, 0], spline_orders=[3, 3])),
    "gam_positive": ("cars.csv", ["cylinders", "year"], "weight", Gam(family="gamma", link="log", gam_columns=["acceleration"], num_knots=[6], bs=[3], spline_orders=[4])),
    "gam_positive_beside": ("cars.csv", ["cylinders"], "economy", Gam(gam_columns=["acceleration", "weight"], num_knots=[6, 5], bs=[3, 0], spline_orders=[4, 4])),
    "gam_plates": ("prostate.csv", ["RACE"], "CAPSULE", Gam(family="binomial", gam_columns=["PSA", ["AGE", "VOL"], ["PSA"]], num_knots=[5, 8, 6], bs=[0, 1, 1], scale_tp_penalty_mat=True)),
    "gam_plate_of_three": ("cars.csv", ["cylinders"], "economy", Gam(gam_columns=[["displacement", "acceleration", "weight"]], num_knots=[14], bs=[1])),
    "gam_plate_standardized": ("prostate.csv", ["RACE"], "CAPSULE", Gam(family="binomial", gam_columns=[["AGE", "VOL"]], num_knots=[8], bs=[1], standardize=True)),
    "gam_multinomial": ("iris_wheader.csv", ["sepal_wid"], "class", Gam(family="multinomial", gam_columns=["sepal_len", "petal_len"], num_knots=[5, 5], bs=[0, 0])),
    "gam_tweedie": ("cars.csv", ["year"], "economy", Gam(family="tweedie", tweedie_variance_power=1.5, tweedie_link_power=0.5, gam_columns=["weight"], num_knots=[5])),
    "rulefit_binomial": ("prostate.csv", prostate, "CAPSULE", RuleFit(max_num_rules=10, rule_generation_ntrees=8, seed=1)),
    "rulefit_rules": ("cars.csv", cars, "economy", RuleFit(model_type="rules", algorithm="gbm", max_num_rules=12, rule_generation_ntrees=8, seed=1)),
    "rulefit_multinomial": ("iris_wheader.csv", iris, "class", RuleFit(max_num_rules=12, rule_generation_ntrees=5, seed=1)),
    "rulefit_deep": ("AirlinesTrain.csv.zip", air, "IsDepDelayed", RuleFit(min_rule_length=1, max_rule_length=3, rule_generation_ntrees=3, lambda_=1e-3, seed=1)),
    "rulefit_linear": ("cars.csv", cars, "economy", RuleFit(model_type="linear", seed=1)),
    "kmeans": ("iris_wheader.csv", iris, None, KMeans(k=3, seed=5)),
    "kmeans_plain": ("iris_wheader.csv", iris, None, KMeans(k=3, seed=5, standardize=False)),
    "kmeans_categories": ("cars.csv", cars, None, KMeans(k=4, seed=5)),
    "kmeans_mixed": ("prostate.csv", prostate, None, KMeans(k=4, seed=5)),
}


def frame(name):
    """The data of a case; small whole numbers of these columns are categories."""
    f = h2o.import_file(str(HERE / "data" / name))
    if name == "prostate.csv":
        for c in ("CAPSULE", "RACE", "DCAPS"):
            f[c] = f[c].asfactor()
    return f


def score_rows(f):
    return f[list(range(min(ROWS, f.nrow))), :]


def numbers(predicted):
    """Columns of predictions as lists, labels as they are."""
    columns = predicted.as_data_frame(use_pandas=False, header=False)
    return [list(c) for c in zip(*columns)]


def main():
    h2o.connect(url=sys.argv[1], verbose=False)
    h2o.no_progress()
    OUT.mkdir(exist_ok=True)
    wanted, frames, some = {}, {}, sys.argv[2:]
    if some:
        wanted = json.load(open(OUT / "predictions.json"))
    for name, (file, x, y, estimator) in CASES.items():
        if some and name not in some:
            continue
        if file not in frames:
            frames[file] = frame(file)
        f = frames[file]
        x = [c for c in x if c != y]
        estimator.train(x=x, y=y, training_frame=f)
        made = pathlib.Path(estimator.download_mojo(str(OUT)))
        made.rename(OUT / f"{name}.zip")
        wanted[name] = numbers(estimator.predict(score_rows(f)))
        print(name, (OUT / f"{name}.zip").stat().st_size)
    json.dump(wanted, open(OUT / "predictions.json", "w"), indent=0)


if __name__ == "__main__":
    main()
