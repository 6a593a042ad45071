"""The kernels become machine code for GPUs that need not be here, without contracted multiplications and additions."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from hwloop.simulate.gpu.place import interpreted

from .gpu_support import TRITON

pytestmark = [
    pytest.mark.skipif(not TRITON, reason="Triton is not installed (extra test; Linux)"),
    pytest.mark.skipif(interpreted(), reason="kernels of the interpreter are not compiled"),
]

#: Compiles in a process of its own, which keeps nothing: kernel, types of its arguments, those that are constants.
COMPILE = """
import sys
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from hwloop.simulate.gpu import adjoint_kernel, forward_kernel, maximum_kernel, parameter_kernel

real, capability = sys.argv[1], int(sys.argv[2])
ONE = {} if len(sys.argv) < 4 else {"width": 1, "n": 1, "row": 1, "max_spikes": 1, "tiles": 1, "size": 1}
WHOLE = {"width", "n", "row", "max_spikes", "tiles", "size"}
LONG = {"u_in", "n_in", "offsets", "counts", "order", "starts"}

def kind(name, double):
    if name in WHOLE:
        return "i32"
    if name == "mask":
        return "*i8"
    return "*i64" if name in LONG else "*fp64" if name in double else "*" + real

def compiled(kernel, double=(), **constants):
    constants = {**constants, "BLOCK": 32}
    constants |= {name: 1 for name in ONE if name in kernel.arg_names}
    names = [name for name in kernel.arg_names if name not in constants]
    source = ASTSource(kernel, {name: kind(name, double) for name in names}, constants)
    made = triton.compile(
        source, target=GPUTarget("cuda", capability, 32), options={"num_warps": 1, "enable_fp_fusion": False}
    )
    assert len(made.asm["cubin"]) > 0
    assert "fma.rn" not in made.asm["ptx"], kernel

compiled(forward_kernel.simulate_tile, SUBTRACT=False, HOLD=True)
compiled(forward_kernel.replay_tile, SUBTRACT=True, HOLD=True)
compiled(adjoint_kernel.adjoint_tile, {"floors"}, SKIP=False, HOLD=True, WANT_TIMES=True)
compiled(adjoint_kernel.gather_rows, {"total"})
compiled(parameter_kernel.parameters_tile, {"floors", "total"}, SUBTRACT=True, SKIP=True, HOLD=True)
compiled(maximum_kernel.maximum_tile, {"ends", "value", "when"})
compiled(maximum_kernel.maximum_gradient_tile, {"ends", "when", "grad", "arrived", "by_time", "by_tau"})
"""


@pytest.mark.parametrize("arguments", [("fp32", "80"), ("fp64", "90"), ("fp32", "90", "ones")], ids="-".join)
def test_every_kernel_compiles(arguments: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> None:
    """Also with whole numbers of 1, which Triton makes constants of."""
    environment = {**os.environ, "TRITON_CACHE_DIR": str(tmp_path_factory.mktemp("triton"))}
    run = subprocess.run(
        [sys.executable, "-c", COMPILE, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-3000:]
