"""A frame of a server as a pandas and a polars data frame, and back, without a detour over text.

    python examples/dataframes.py http://127.0.0.1:54321

Needs `pip install h2o==3.46.0.11 pyarrow pandas polars`.
"""
import io
import sys
import urllib.request

import h2o
import polars
import pyarrow.ipc

url = sys.argv[1]
h2o.connect(url=url, verbose=False)
frame = h2o.create_frame(rows=1_000_000, cols=10, categorical_fraction=0.3, seed=1)

with urllib.request.urlopen(f"{url}/3/Frames/{frame.frame_id}.arrow") as reply:
    table = pyarrow.ipc.open_stream(reply).read_all()
pandas_frame = table.to_pandas()
polars_frame = polars.from_arrow(table)
print(pandas_frame.dtypes)
print(polars_frame.head(3))

out = io.BytesIO()
with pyarrow.ipc.new_stream(out, table.schema) as stream:
    stream.write_table(table)
request = urllib.request.Request(f"{url}/3/PostFrame.arrow?destination_frame=back", data=out.getvalue())
request.add_header("Content-Type", "application/vnd.apache.arrow.stream")
urllib.request.urlopen(request)
print(h2o.get_frame("back").dim)
