"""Answers of the reference that are kept beside a script: how they are made, and how ochre's are compared with them."""
import json
import os
import sys

import h2o

HERE = os.path.dirname(os.path.abspath(__file__))


def differences(a, b, path="", tolerance=3e-7):
    if isinstance(a, dict):
        return [d for k in a for d in differences(a[k], b.get(k), f"{path} {k}", tolerance)]
    if isinstance(a, list):
        if len(a) != len(b or []):
            return [f"{path}: {len(a)} items, got {len(b or [])}"]
        return [d for i, (u, v) in enumerate(zip(a, b)) for d in differences(u, v, f"{path}[{i}]", tolerance)]
    if isinstance(a, (int, float)):
        return [] if isinstance(b, (int, float)) and abs(a - b) <= tolerance * max(1.0, abs(a)) else [f"{path}: {a!r}, got {b!r}"]
    return [] if a == b or a is None else [f"{path}: {a!r}, got {b!r}"]


def told(name, found):
    """Prints the first differences of a case; 1 if there are any."""
    for line in found[:4]:
        print(f"{name}:{line}")
    return int(bool(found))


def compared(run, file, tolerance):
    """Runs the cases on the server that the command line names, and compares them with those of a file: how many there are,
    and how many differ. `tolerance` is that of a case by its name. With --make the file is written, and the script ends."""
    h2o.connect(url=sys.argv[1], verbose=False)
    h2o.no_progress()
    path = os.path.join(HERE, file)
    if "--make" in sys.argv:
        with open(path, "w") as f:
            json.dump(dict(run()), f, separators=(",", ":"))
            f.write("\n")
        sys.exit()
    with open(path) as f:
        wanted = json.load(f)
    bad = sum(told(name, differences(wanted[name], json.loads(json.dumps(got)), "", tolerance(name))) for name, got in run())
    return len(wanted), bad
