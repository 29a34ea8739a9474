"""Make the Parquet files of this folder from the full data sets.

    FEDSTILL_DATA=<folder> python make.py [<output folder>]

FEDSTILL_DATA holds emnist_byclass/{train,test}.parquet and mnist/train.parquet: columns `image` (C*H*W bytes) and
`label` (int64), with the key-value metadata that is copied below. Needs pyarrow 17.0.0: another version writes the
same rows but other bytes. Nothing is random and no clock is read: twice made, twice the same bytes.

Which rows: of each class the `a class` rows with the smallest sha256 of "<set>/<row index>", as "emnist_byclass/train/17".
In which order: first every class's smallest, then every class's second, and so on; by that hash within such a layer.
So the classes are mixed, and the first n rows of a file hold every class equally often, give or take one row.
"""

import hashlib
import json
import os
import string
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

UPPER = list(string.ascii_uppercase)
DIGITS = list(string.digits)
KEPT = ["name", "split", "shape", "encoding", "licence", "source"]

# file, source set, class names in the order of the new labels, rows a class
FILES = [
    ("letters.parquet", "emnist_byclass/train", UPPER, 300),
    ("letters-test.parquet", "emnist_byclass/test", UPPER, 64),
    ("mnist.parquet", "mnist/train", DIGITS, 600),
]


def select(source, labels, new_label, per_class):
    """Row indices of `source` in the order in which they are written."""
    by_class = {label: [] for label in new_label.values()}
    for row, label in enumerate(labels):
        if label in new_label:
            digest = hashlib.sha256(f"{source}/{row}".encode()).digest()
            by_class[new_label[label]].append((digest, row))
    layers = []
    for label, rows in by_class.items():
        if len(rows) < per_class:
            sys.exit(f"{source}: class {label} has {len(rows)} rows, {per_class} are wanted")
        layers += [(rank, digest, row) for rank, (digest, row) in enumerate(sorted(rows)[:per_class])]
    return [row for _, _, row in sorted(layers)]


def make(folder, output, file, source, names, per_class):
    """Write one file and return its line for the README's table."""
    table = pq.read_table(folder / f"{source}.parquet")
    meta = {key.decode(): value.decode() for key, value in table.schema.metadata.items()}
    old_names = json.loads(meta["class_names"])
    new_label = {old_names.index(name): new for new, name in enumerate(names)}
    labels = table["label"].to_pylist()
    rows = select(source, labels, new_label, per_class)

    note = f"subset: {per_class} rows a class, those with the smallest sha256 of '{source}/<row index>'"
    if len(names) < len(old_names):
        note += f"; classes {names[0]}-{names[-1]} of {len(old_names)}, labelled from 0"
    if "note" in meta:
        note += f". Of the source: {meta['note']}"
    kept = {key: meta[key] for key in KEPT}
    kept |= {"rows": str(len(rows)), "classes": str(len(names)), "class_names": json.dumps(names), "note": note}

    image = table["image"].combine_chunks().take(pa.array(rows, pa.int64()))
    label = pa.array([new_label[labels[row]] for row in rows], pa.int64())
    made = pa.table({"image": image, "label": label}).replace_schema_metadata(kept)
    pq.write_table(
        made,
        output / file,
        row_group_size=5000,
        compression="zstd",
        compression_level=19,
        use_dictionary=["label"],
        write_statistics=["label"],
    )
    data = (output / file).read_bytes()
    return f"| `{file}` | {len(rows)} | {len(names)} x {per_class} | {len(data)} | `{hashlib.sha256(data).hexdigest()}` |"


def main():
    if "FEDSTILL_DATA" not in os.environ:
        sys.exit("FEDSTILL_DATA must name the folder with emnist_byclass/ and mnist/ (see the top of this file)")
    folder = Path(os.environ["FEDSTILL_DATA"])
    output = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    for file, source, names, per_class in FILES:
        print(make(folder, output, file, source, names, per_class))


if __name__ == "__main__":
    main()
