"""The layer on a GPU: kernels in Triton, of which one program carries a tile of neurons through the events of a sample.

Why Triton and not Numba's CUDA target: it comes with every CUDA build of torch for Linux, so that ``net.to("cuda")`` needs
nothing more installed, while Numba's wants ``numba-cuda`` and parts of the CUDA toolkit that match the driver (its own
target is deprecated in favour of that package). Both can run without a GPU (``TRITON_INTERPRET=1``,
``NUMBA_ENABLE_CUDASIM=1``), which is how these kernels are tested; Triton can besides compile them to machine code
for a GPU that is not there, and its interpreter takes a tile at a time where Numba's simulator starts a thread a neuron.

Same answers as the other engines, in the same order:

- State ``(u, i)`` in local time and in the dtype of the layer; crossings and all that happens to a neuron that spikes in
  float64. Strict arithmetic (no contraction), so that a replay of simulated spikes has equal bits.
- Nothing depends on the order in which programs run. A weight's gradient is gathered: the adjoint current at each event
  is written down, and one program a row of the weights adds up the events of its input unit in their order. No
  atomics: equal bits from run to run, always.
- A spike never is dropped: neurons are counted to the end, and where one had more spikes than room the pass runs again
  with room for all.

Importing this package imports no Triton; its kernels do.
"""
