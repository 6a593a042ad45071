"""Speed and memory of hwloop beside the tools users would pick instead; run by ``make bench``, not by the tests."""
