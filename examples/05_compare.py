"""Compare simulated with measured spikes, and find the first one that went another way.

python examples/02_train.py && python examples/05_compare.py      # writes compared.html
"""

import hwloop as hl
from hwloop import datasets

net = hl.Network.from_nir("yin_yang.nir")
test = datasets.yin_yang(seed=0, sizes=(1, 1, 100)).test

with hl.open("emulator:0", preset="bss2", session=0) as chip:
    chip.load(hl.compile(net, chip))
    measured = chip.run(test.inputs)  # of the same type as what is simulated, and says what it ran on

comparison = hl.compare(net(test.inputs), measured, net=net, labels=test.labels)
for layer in comparison.populations:
    found = layer.summary()
    print(
        f"layer {layer.layer}: {found['matched']} spikes on both sides, {found['missing']} missing, {found['extra']} extra"
    )
print(comparison.divergences.summary())
print(f"{len(comparison.decisions.flipped)} of {len(test)} decisions are others")
comparison.to_html("compared.html")
