"""The same reductions by LiberTEM's inline executor; run by `reductions.py` in LiberTEM's own environment.

python libertem_reductions.py FRAMES.npy MASKS.npy TIMES
"""

from __future__ import annotations

import json
import sys
import time

import libertem
import numpy as np
from libertem.api import Context
from libertem.executor.inline import InlineJobExecutor
from libertem.udf.com import CoMUDF
from libertem.udf.masks import ApplyMasksUDF
from libertem.udf.stddev import StdDevUDF
from libertem.udf.sum import SumUDF


def main() -> None:
    """Print the version, and GB per CPU-second of each run of each set."""
    frames, masks, times = np.load(sys.argv[1]), np.load(sys.argv[2]), int(sys.argv[3])
    # Without this, one thread for each core takes part, whatever the environment says.
    context = Context(executor=InlineJobExecutor(inline_threads=1))
    dataset = context.load("memory", data=frames.reshape(-1, 64, *frames.shape[1:]), sig_dims=2)

    def masked(k: int) -> ApplyMasksUDF:
        return ApplyMasksUDF(mask_factories=lambda: masks[:k], mask_count=k, mask_dtype=np.float32, use_sparse=False)

    sets = {
        "sum": [SumUDF()],
        "masks_1": [masked(1)],
        "masks_4": [masked(4)],
        "masks_16": [masked(16)],
        "centre_of_mass": [CoMUDF.with_params()],
        "mean_variance": [StdDevUDF()],
        "one_run": [SumUDF(), masked(4), CoMUDF.with_params(), StdDevUDF()],
    }
    rates: dict[str, list[float]] = {}
    for name, udfs in sets.items():
        context.run_udf(dataset=dataset, udf=udfs)
        rates[name] = []
        for _ in range(times):
            start = time.process_time()
            context.run_udf(dataset=dataset, udf=udfs)
            rates[name].append(frames.nbytes / (time.process_time() - start) / 1e9)
    print(json.dumps({"version": libertem.__version__, "rates": rates}))


if __name__ == "__main__":
    main()
