"""Writes the HDF5 files of fixtures/hdf5 that reach for other files, and groups of every layout that do not.

Needs h5py and numpy: `pip install h5py && python scripts/make_hdf5.py`.
"""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import h5py
import numpy as np

HERE = Path(__file__).resolve().parent.parent / "fixtures" / "hdf5"
OUT = "/etc/passwd"
LAYOUTS: dict[str, dict[str, Any]] = {"old": {}, "new": {"libver": "latest"}, "ordered": {"track_order": True}}


def main() -> None:
    for name, options in LAYOUTS.items():
        for n in (3, 40):
            with h5py.File(HERE / f"groups_{name}_{n}.h5", "w", **options) as file:
                group = file.create_group("layers", track_order=options.get("track_order"))
                for i in range(n):
                    group.create_group(f"layer_{i}")["w"] = np.float32(i)
                group["soft"] = h5py.SoftLink("/layers/layer_0")
            with h5py.File(HERE / f"outside_link_{name}_{n}.h5", "w", **options) as file:
                group = file.create_group("a/layers", track_order=options.get("track_order"))
                for i in range(n):
                    group[f"w{i}"] = np.float32(i)
                group["w"] = h5py.ExternalLink(OUT, "/x")
    for name in ("old", "new"):
        with h5py.File(HERE / f"outside_data_{name}.h5", "w", **LAYOUTS[name]) as file:
            file.create_dataset("a/w", (4,), "u1", external=[(OUT, 0, 4)])
    # 160 links with names of 3,900 letters: a heap of many rows, and one packed file, since it is nothing but names
    with h5py.File(HERE / "deep.h5", "w", libver="latest") as file:
        for i in range(160):
            file[f"{i:04}" * 975] = h5py.SoftLink("/0")
        file["w"] = h5py.ExternalLink(OUT, "/x")
    (HERE / "outside_link_deep.h5.gz").write_bytes(gzip.compress((HERE / "deep.h5").read_bytes(), mtime=0))
    (HERE / "deep.h5").unlink()
    layout = h5py.VirtualLayout((4,), "u1")
    layout[:] = h5py.VirtualSource(OUT, "x", (4,))
    with h5py.File(HERE / "outside_virtual.h5", "w", libver="latest") as file:
        file.create_virtual_dataset("a/w", layout)


if __name__ == "__main__":
    main()
