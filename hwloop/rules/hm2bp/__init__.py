"""HM2-BP: hybrid macro / micro backpropagation of spike trains, in steps and on events."""
