"""Writes goldens.json from a running reference server: make_goldens.py http://127.0.0.1:54321

The reference: `pip install h2o==3.46.0.11`, then `java -jar h2o.jar` from that package.
"""
import json
import os
import sys

import scenario

here = os.path.dirname(os.path.abspath(__file__))
answers = scenario.run(sys.argv[1], os.path.join(here, "data"))
with open(os.path.join(here, "goldens.json"), "w") as f:
    json.dump(answers, f, separators=(",", ":"))
print("goldens.json written")
