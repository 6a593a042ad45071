"""When the values of a task spike, as a section of an experiment file."""

from __future__ import annotations

from .datasets import Stimulus
from .experiment_sections import Positive, Seconds, Section


class StimulusSection(Section):
    """When values spike: earliest and latest value spike, end of the window, bias spike (s)."""

    t_early: Seconds
    t_late: Seconds
    t_stop: Positive
    bias_time: Seconds | None = None

    def build(self) -> Stimulus:
        """As the data sets take it."""
        return Stimulus(self.t_early, self.t_late, self.t_stop, self.bias_time)
