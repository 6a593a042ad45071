"""The specification of a layer in plain Python: :mod:`.layer`, and its one neuron, :mod:`.neuron`."""
