"""NIR: a network as a graph of the Neuromorphic Intermediate Representation, and back; :mod:`.read`, :mod:`.write`.

NIR's equations, in whatever unit of time a file is written in, with ``S`` what its edges bring:

    CubaLIF, CubaLI   tau_syn I' = -I + w_in S      tau_mem v' = (v_leak - v) + r I
    LIF, LI           tau v' = (v_leak - v) + r S
    IF                v' = r S

What a spike of weight w is in ``S`` NIR does not fix; files mean one of three things (:mod:`.conventions`). Ours is the jump:
``i`` moves by the weight of a ``Dense``, or the membrane itself where there is no current.
"""
