"""Loihi's fixed-point arithmetic: graphs of layers in whole numbers, their specification and their kernels; of ``loihi`` and ``lava``."""
