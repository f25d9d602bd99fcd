"""Runs the scenario against a server and compares with goldens.json: check.py URL"""
import json
import os
import sys

import compare
import scenario

here = os.path.dirname(os.path.abspath(__file__))
with open(os.path.join(here, "goldens.json")) as f:
    want = json.load(f)
got = json.loads(json.dumps(scenario.run(sys.argv[1], os.path.join(here, "data"))))
bad = list(compare.differences(want, got))
for path, a, b in bad:
    print(f"{path}: wanted {str(a)[:80]}, got {str(b)[:80]}")
print(f"{len(bad)} differences")
sys.exit(1 if bad else 0)
