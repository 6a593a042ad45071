"""Networks that run in steps: what HM2-BP, NA, SpikeGrad and SPIDE share."""
