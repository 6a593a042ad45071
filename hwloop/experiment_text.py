"""An experiment as a file to be edited: every value with what it means, and what may stand there instead."""

from __future__ import annotations

import re

from .experiment import Experiment
from .toml_text import toml_text

_LOSS = {
    "decision": '"first" spike, "count" of spikes; of an output that does not spike "maximum", "integral"',
    "temperature": "s: differences of first spikes below it hardly count",
    "label_hinge": "weight of the hinge that makes a silent output of the label spike",
    "label_margin": "membrane beyond the threshold that it asks for",
    "dead_hinge": "weight of the hinge that revives hidden neurons without spikes",
    "dead_margin": "membrane beyond the threshold that it asks for",
    "neurons": "output neurons of each class",
    "pool": 'of several: "mean" of their first spikes, or the "first"',
    "lead_hinge": "weight of a lead over the other classes; needs noise (s)",
    "lead": "the lead that it asks for, in units of noise",
    "wanted": "spikes asked of the label",
    "others": "spikes asked of the other classes",
}
_STEPS = {
    "epochs": "passes over the training data",
    "batch_size": "samples of one step",
    "lr": "learning rate of Adam",
    "lr_decay": "factor of the learning rate from one epoch to the next",
    "lr_min": "the learning rate falls no further than this share of itself",
    "clip_norm": "longest gradient of one step; left out: not clipped",
    "floor": "least slope of a membrane at its spike, as a share: bounds the gradient",
    "policy": 'for spikes below it: "clip", "skip" or "raise"',
    "averaging": "of the weights, over some 1 / (1 - it) steps; 0: none",
}
_NEURONS = {
    "tau_mem": "s: membrane",
    "tau_syn": "s: synaptic current",
    "v_th": "threshold",
    "v_leak": "potential at rest",
    "v_reset": "potential after a spike",
    "t_ref": "s: refractory time",
    "reset": '"value": to v_reset; "subtract": by v_th - v_reset',
    "max_spikes": "most spikes of a neuron in a sample",
    "init_mean": "first weights: mean, one for all layers or one for each",
    "init_std": "first weights: standard deviation",
    "train": "what is trained beside the weights",
}

#: What each key means, by its place; a key in two places has a line for each.
COMMENTS: dict[str, str] = {
    "format": "",
    "version": "",
    "name": "letters, digits, . _ -",
    "description": "",
    "seed": "draws first weights and sample order",
    "steps": "what `hwloop run` does: train, then those that stand here",
    "task.name": '"yin-yang", "mnist", "fashion-mnist", "emnist", "spoken-digits"; your own: see below',
    "task.source": '"generated", or "published": from files',
    "task.seed": "draws the data, or the validation samples",
    "task.train": "samples",
    "task.validation": "samples",
    "task.test": "samples",
    "task.size": "side of an image (pixels)",
    "task.crop": "side of the centre that is kept (pixels)",
    "task.subset": '"balanced", "bymerge", "byclass", "letters", "digits", "mnist"',
    "task.stimulus.t_early": "s: earliest spike of a value",
    "task.stimulus.t_late": "s: latest",
    "task.stimulus.t_stop": "s: end of the window",
    "network.form": '"chain", "layered", "graph", "nir-file": its other keys say which',
    "network.hidden": "neurons of each hidden layer",
    "network.in_shape": "channels, height, width",
    **{f"network.{key}": text for key, text in _NEURONS.items()},
    **{f"network.layers.{key}": text for key, text in _NEURONS.items()},
    "network.layers.kind": "dense, conv2d, sum_pool2d, avg_pool2d, flatten, scale, delay, sparse; lif, delta_lif, if, li",
    "network.layers.n": "neurons after these weights",
    "network.layers.bias": "whether each neuron has one",
    "network.layers.delay_of": "\"inputs\", or \"synapses\" row by row",
    "network.layers.channels": "after the convolution",
    "network.layers.kernel": "pixels: one side, or height and width",
    "network.layers.stride": "pixels",
    "network.layers.padding": "pixels",
    "network.layers.dilation": "pixels",
    "network.layers.groups": "of channels",
    "network.layers.filtered_bias": "whether the bias passes the synapse",
    **{f"loss.{key}": text for key, text in _LOSS.items()},
    **{f"training.{key}": text for key, text in _STEPS.items()},
    "training.input_dropout": "share of input spikes left out at random",
    "training.augment.kind": '"affine" or "elastic": changes the training images at random',
    "training.augment.shift": "pixels",
    "training.augment.rotation": "degrees",
    "training.augment.scale": "a share",
    "training.augment.alpha": "pixels",
    "training.augment.sigma": "pixels",
    "target.name": "see `hwloop targets`",
    "target.preset": "a name, or a .toml file",
    "target.weight_scale": 'weights to codes: "auto", "max", "quantile:0.99"',
    "target.mask": "neurons of the chip that are not used",
    **{f"finetune.{key}": text for key, text in _STEPS.items()},
    "finetune.repeats": "runs of each batch, averaged",
    "finetune.validation_repeats": "runs of the validation data",
    **{f"finetune.loss.{key}": text for key, text in _LOSS.items()},
}  # fmt: skip

#: What a task of one's own looks like, behind the built-in one.
_OWN_DATA = """\
# Your own data in place of the [task] above; paths count from the folder of this file (docs/your_data.md):
#   [task]
#   name = "spike-times"     # first-spike times; or "values", "recordings" (NIRData, AER), "images" (IDX)
#   train = "train.npz"      # arrays times [samples, units] and labels; or {inputs = "x.npy", labels = "y.npy"}
#   validation = 200         # so many samples of train, drawn by seed; or a path
#   test = "test.npz"
#   seed = 1
#   units = 40
#   classes = 3
#   t_stop = 0.05            # s
#   unit = "ms"              # of the times in the files; "s" where it is left out
"""
_OWN_NETWORK = """\
# A network of another package in place of the [network] above (docs/experiment_files.md has layers and graphs too):
#   [network]
#   nir = "network.nir"
"""
_BEHIND = {"task": _OWN_DATA, "network": _OWN_NETWORK}


def commented(experiment: Experiment, source: str) -> str:
    """``experiment`` as TOML with a comment on every value; :meth:`Experiment.load` reads it back. ``source`` is what it is like."""
    lines = [
        f"# An experiment like {source}: every value and what it means. Times in seconds.",
        "# Run it: hwloop run FILE; change a value for once: hwloop run FILE --set training.epochs=3",
    ]
    table = ""
    for line in toml_text(experiment.to_dict()).splitlines():
        if header := re.fullmatch(r"\[\[?([\w.-]+)\]?\]", line):
            # what stands behind a section comes before the next one
            before, table = table.partition(".")[0], header[1]
            if before != table.partition(".")[0] and before in _BEHIND:
                lines += [*_BEHIND[before].splitlines(), ""]
            lines.append(line)
            continue
        key = line.partition(" = ")[0]
        comment = COMMENTS.get(f"{table}.{key}" if table else key, "") if line else ""
        lines.append(f"{line:<28}  # {comment}" if comment else line)
    return "\n".join(lines) + "\n"
