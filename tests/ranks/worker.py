"""One rank as a process of its own: trains in float64 into a folder, which the test looks at.

worker.py FOLDER EPOCHS DEADLINE
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import torch

import hwloop as hl
from hwloop.errors import RankError

sys.path.insert(0, str(Path(__file__).parent))
from networks import fit, network, task, values

#: Pause after every epoch (s), so that a test can end a rank in the middle of a run.
PAUSE = 0.05


def main() -> None:
    folder, epochs, deadline = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    torch.set_num_threads(1)
    (folder / f"pid-{os.environ['RANK']}").write_text(str(os.getpid()))
    try:
        with hl.ranks.joined(deadline) as ranks:
            net = network(seed=ranks.rank)
            fit(
                net, task(), epochs=epochs, averaging=0.5, checkpoint_dir=folder / "run", resume=True, ranks=ranks,
                on_epoch=lambda epoch: time.sleep(PAUSE),
            )  # fmt: skip
            torch.save(values(net), folder / f"weights-{ranks.rank}.pt")
    except RankError as error:
        print(error, file=sys.stderr, flush=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
