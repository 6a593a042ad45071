"""SpikeGrad: signed spikes forward, ternary error spikes backward; event by event, and as the equivalent network."""
