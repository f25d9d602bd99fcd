"""Scores models that ochre or H2O exported (MOJO), without any server.

    import ochre_score
    model = ochre_score.load("model.zip")
    scores = model.predict(frame)         # pandas in, pandas out; the same for polars and pyarrow

Columns are found by name. One that is not there is missing in every row, and so is a level that the model does not know;
`explain_schema` tells which these are before they surprise.
"""
from . import _native

__all__ = ["load", "Model", "Stream"]


def load(path):
    """The model in a file."""
    return Model(path)


class Stream:
    """Batches of Arrow that are computed as they are read, once, by whatever reads the Arrow C stream interface."""

    def __init__(self, capsule):
        self._capsule = capsule

    def __arrow_c_stream__(self, requested_schema=None):
        if self._capsule is None:
            raise ValueError("this stream was read already")
        capsule, self._capsule = self._capsule, None
        return capsule


def _kind(data):
    return type(data).__module__.split(".")[0]


def _stream_of(data):
    if hasattr(data, "__arrow_c_stream__"):
        return data.__arrow_c_stream__()
    if _kind(data) == "pandas":
        import pyarrow
        return pyarrow.Table.from_pandas(data, preserve_index=False).__arrow_c_stream__()
    raise TypeError(f"cannot score a {type(data).__name__}: give a pandas or polars DataFrame, or anything with __arrow_c_stream__")


def _like(data, stream):
    kind = _kind(data)
    if kind == "pandas":
        import pyarrow
        out = pyarrow.table(stream).to_pandas()
        out.index = data.index
        return out
    if kind == "polars":
        import polars
        return polars.DataFrame(stream)
    if kind == "pyarrow":
        import pyarrow
        return pyarrow.table(stream)
    return stream


class Model:
    """An exported model."""

    def __init__(self, path):
        self._model = _native.Model(path)

    @property
    def algorithm(self):
        return self._model.algorithm

    @property
    def category(self):
        """Binomial, Multinomial, Regression, Clustering, AnomalyDetection, ..."""
        return self._model.category

    @property
    def columns(self):
        """The columns that the model reads: a dict of names and levels, None for numbers."""
        return dict(self._model.columns)

    @property
    def response(self):
        return self._model.response

    @property
    def offset(self):
        """The column of offsets, when the model was trained with one."""
        return self._model.offset

    def predict(self, data):
        """Predictions of all rows, in the kind of frame that was given (a Stream for what is neither pandas, polars nor pyarrow)."""
        return _like(data, Stream(self._model.predict(_stream_of(data))))

    def contributions(self, data):
        """What each column adds to the score of each row (Shapley values), and the bias; models of trees only."""
        return _like(data, Stream(self._model.contributions(_stream_of(data))))

    def explain_schema(self, data):
        """In plain words, what keeps columns from being what the model was trained on; an empty list when nothing does."""
        names = list(data.column_names) if _kind(data) == "pyarrow" else list(data.columns)
        out = []
        for name, levels in self.columns.items():
            if name not in names:
                near = [n for n in names if str(n).strip().lower() == name.strip().lower()]
                hint = f"; the data has '{near[0]}', which differs in case or blanks only" if near else ""
                out.append(f"'{name}' is missing: every row counts as missing there{hint}")
            elif levels is not None:
                column = data[name]
                seen = {str(v) for v in (column.unique() if hasattr(column, "unique") else column) if v is not None and v == v}
                unseen = sorted(seen - set(levels))
                if unseen:
                    shown = ", ".join(repr(v) for v in unseen[:5]) + (f" and {len(unseen) - 5} more" if len(unseen) > 5 else "")
                    out.append(f"'{name}' has {len(unseen)} levels that the model was not trained on ({shown}); they count as missing")
        if self.offset is not None and self.offset not in names:
            out.append(f"the offset '{self.offset}' is missing, and the model cannot do without it")
        return out

    def __repr__(self):
        return f"<ochre_score.Model {self.algorithm} ({self.category}), {len(self.columns)} columns>"
