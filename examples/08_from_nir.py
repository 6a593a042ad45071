"""Take over a network of another tool, as a NIR file: what its numbers mean is found out with evidence, or refused.

python examples/08_from_nir.py
"""

import nir
import numpy as np

import hwloop as hl

# a file as another tool writes it: times in ms, gains of a step of .1 ms, and not a word about either
neurons = nir.CubaLIF(
    tau_mem=np.full(2, 10.0), tau_syn=np.full(2, 5.0), r=np.full(2, 10 / 0.1), w_in=np.full(2, 5 / 0.1),
    v_leak=np.zeros(2), v_threshold=np.ones(2), v_reset=np.zeros(2),
)  # fmt: skip
graph = nir.NIRGraph.from_list(nir.Affine(weight=np.array([[0.05, 0.02], [0.01, 0.04]]), bias=np.zeros(2)), neurons)
nir.write("theirs.nir", graph)

net = hl.Network.from_nir("theirs.nir")
dense, lif = net.blocks[0]
print(net.nir_evidence)
print(f"tau_mem {float(lif.tau_mem[0]):g} s; a weight of 0.05 by step is one of {float(dense.weight[0, 0].detach()):g}")

spikes = hl.Spikes.from_events([([1e-3, 2e-3, 3e-3], [0, 1, 0])], n_units=2, t_stop=40e-3)
print(f"{int(net(spikes).output.counts.sum())} spikes")

neurons.r = np.full(2, 20.0)  # now the gains agree on no step, and what a spike is has to be said
try:
    hl.Network.from_nir(graph)
except hl.InputError as error:
    print("refused:", error)
print(hl.Network.from_nir(graph, spike="jump").nir_evidence)

nir.write("ours.nir", net.to_nir(dt=1e-4))  # and back, in the numbers that tools with steps of .1 ms run
