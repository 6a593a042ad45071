"""What runs beside lava-nc, in a process and an environment of its own: NumPy and Lava, never hwloop or torch.

Written for Python 3.10 to 3.13, since the environment may be made from another interpreter than the host's.
"""
