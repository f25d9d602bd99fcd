"""Import, split, train, measure, score: with the official H2O client against a running ochre."""
import sys

import h2o
from h2o.estimators import H2OGradientBoostingEstimator

h2o.connect(url=sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:54321", verbose=False)
h2o.no_progress()
frame = h2o.import_file(sys.argv[2] if len(sys.argv) > 2 else "conformance/data/prostate.csv")
frame["CAPSULE"] = frame["CAPSULE"].asfactor()
train, valid = frame.split_frame([0.8], seed=1)
model = H2OGradientBoostingEstimator(ntrees=50, max_depth=4, seed=1)
model.train(x=["AGE", "RACE", "DPROS", "DCAPS", "PSA", "VOL", "GLEASON"], y="CAPSULE", training_frame=train, validation_frame=valid)
print(f"{train.nrow} rows to train on, {valid.nrow} to measure on")
print(f"area under the curve: {model.auc():.4f} in training, {model.auc(valid=True):.4f} on new rows")
for name, importance, *_ in model.varimp()[:3]:
    print(f"  {name:8} {importance:8.2f}")
print(f"first prediction: {model.predict(valid).as_data_frame(use_pandas=False, header=False)[0]}")
