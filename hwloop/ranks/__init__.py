"""Ranks: processes that train one network together, on one machine or several, started by ``torchrun``.

    with hl.ranks.joined() as ranks:
        hl.fit(net, task, loss, ranks=ranks, checkpoint_dir="out/together")

Every batch is that of one process, cut into shares; the gradient is the mean over the whole batch, so the weights are those of
one process but for the order of sums. torch's ``DistributedDataParallel`` is not used: it gives every rank's mean the same
weight, which is wrong where a batch does not split evenly, and wraps ``forward``, which training rules do not go through.
"""

from .base import ALONE as ALONE
from .base import Ranks as Ranks
from .base import Share as Share
from .group import DEADLINE as DEADLINE
from .group import JoinedRanks as JoinedRanks
from .group import joined as joined
from .sharing import summed as summed
