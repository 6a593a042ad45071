"""Comparison of simulated and measured spikes: matching, distances, decisions, first divergence, reports."""

from .comparison import Comparison as Comparison
from .comparison import PopulationComparison as PopulationComparison
from .comparison import Settings as Settings
from .comparison import compare as compare
from .decisions import Decisions as Decisions
from .decisions import compare_decisions as compare_decisions
from .distances import isi_distance as isi_distance
from .distances import spike_distance as spike_distance
from .distances import van_rossum as van_rossum
from .distances import victor_purpura as victor_purpura
from .divergence import Divergence as Divergence
from .divergence import Divergences as Divergences
from .influence import InputEvent as InputEvent
from .matching import Matching as Matching
from .matching import NeuronErrors as NeuronErrors
from .matching import match as match

__all__ = [
    "Comparison",
    "Decisions",
    "Divergence",
    "Divergences",
    "InputEvent",
    "Matching",
    "NeuronErrors",
    "PopulationComparison",
    "Settings",
    "compare",
    "compare_decisions",
    "isi_distance",
    "match",
    "spike_distance",
    "van_rossum",
    "victor_purpura",
]
