"""One neuron: its spike time is exact, and so is the derivative of that time.

python examples/01_one_neuron.py
"""

import math

import torch

import hwloop as hl

TAU_MEM, TAU_SYN, V_TH, WEIGHT = 10e-3, 5e-3, 1.0, 6.0  # s, s, and both in units of the membrane

torch.set_default_dtype(torch.float64)  # the usual float32 does as well, to 7 digits
net = hl.Network([hl.Dense(1, 1), hl.LIF(1, TAU_MEM, TAU_SYN, v_th=V_TH)])
weight = net.layers[0].weight
with torch.no_grad():
    weight.fill_(WEIGHT)

spikes = hl.Spikes.from_events([([2e-3], [0])], n_units=1, t_stop=40e-3)
time = net(spikes).output.first_times()[0, 0]  # [batch, neuron] (s)
time.backward()
print(f"spike at {time.item() * 1e3:.6f} ms; one unit of weight more moves it by {weight.grad.item() * 1e6:.3f} us")

# with tau_mem = 2 tau_syn the membrane is w (x - x^2) for x = exp(-t / tau_mem), and reaches v_th where that is a root
x = (1 + math.sqrt(1 - 4 * V_TH / WEIGHT)) / 2
closed_form = 2e-3 - TAU_MEM * math.log(x)
print("the closed form says the same:", math.isclose(time.item(), closed_form, rel_tol=1e-14))
