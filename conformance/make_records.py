"""Makes data/types.orc and data/types.avro, the same rows in both: needs pyarrow and polars."""
import datetime
import os

import polars as pl
import pyarrow.orc

here = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data")
rows = 300
frame = pl.DataFrame({
    "i": pl.Series([None if r % 7 == 0 else r - 50 for r in range(rows)], dtype=pl.Int64),
    "x": pl.Series([None if r % 11 == 0 else r / 8 for r in range(rows)], dtype=pl.Float64),
    "c": pl.Series([None if r % 13 == 0 else "abc"[r % 3] * 2 for r in range(rows)], dtype=pl.String),
    "t": pl.Series([f"text {r}" for r in range(rows)], dtype=pl.String),
    "b": pl.Series([r % 2 == 0 for r in range(rows)], dtype=pl.Boolean),
    "day": pl.Series([datetime.date(2020, 1, 1) + datetime.timedelta(days=r) for r in range(rows)], dtype=pl.Date),
    "at": pl.Series([datetime.datetime(2021, 3, 4, 5, 6, 7) + datetime.timedelta(hours=r) for r in range(rows)], dtype=pl.Datetime("ms")),
})
pyarrow.orc.write_table(frame.to_arrow().cast(pyarrow.schema([
    (f.name, pyarrow.string() if pyarrow.types.is_large_string(f.type) or pyarrow.types.is_string_view(f.type) else f.type)
    for f in frame.to_arrow().schema])), os.path.join(here, "types.orc"), compression="zstd")
frame.write_avro(os.path.join(here, "types.avro"), compression="snappy")
