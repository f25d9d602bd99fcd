"""Compares what two servers answered, number by number, and says where they part."""
import math

# Largest absolute or relative difference, by the beginning of the path; the longest match counts.
TOLERANCE = {
    "": 1e-9,
    "/gbm": 1e-5,
    "/glm": 1e-6,
    # The reference's line search for several classes ends about 1e-6 from the optimum, whatever it is asked for.
    "/glm/multinomial/coef": 1e-5,
    "/kmeans": 1e-6,
}


def tolerance(path):
    return TOLERANCE[max((p for p in TOLERANCE if path.startswith(p)), key=len)]


def number(v):
    if isinstance(v, bool):
        return None
    if isinstance(v, (int, float)):
        return float(v)
    if isinstance(v, str):
        try:
            return float(v)
        except ValueError:
            return None
    return None


def differences(want, got, path=""):
    """All places where `got` is not what is wanted, as (path, wanted, got)."""
    if isinstance(want, dict) and isinstance(got, dict):
        for k in want:
            if k not in got:
                yield (f"{path}/{k}", want[k], "nothing")
            else:
                yield from differences(want[k], got[k], f"{path}/{k}")
        return
    if isinstance(want, list) and isinstance(got, list):
        if len(want) != len(got):
            yield (f"{path}#", len(want), len(got))
        for i, (a, b) in enumerate(zip(want, got)):
            yield from differences(a, b, f"{path}/{i}")
        return
    a, b = number(want), number(got)
    if a is not None and b is not None:
        if math.isnan(a) and math.isnan(b) or a == b:
            return
        if not abs(a - b) <= tolerance(path) * max(1.0, abs(a), abs(b)):
            yield (path, want, got)
    elif want != got:
        yield (path, want, got)
