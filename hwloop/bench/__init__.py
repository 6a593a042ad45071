"""Speed and exactness beside the tools that users would pick instead: what ``hwloop bench`` measures."""
