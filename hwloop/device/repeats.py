"""Sequential repeats: a sample runs again only while its answer is unsure.

Each run adds to the scores of the classes, minus first spike times or spike counts; a sample is done as soon as the sum of
its best class leads that of every other by a fixed ``lead``, or after ``most`` runs. Where the scores differ from run to
run by normal noise, that is the sequential probability ratio test of Wald for the sign of a mean, and for several classes
the matrix of such tests that accepts a class when it wins against each other (Armitage). Of all tests with the same error
rate it needs the fewest runs on average (Wald & Wolfowitz).

Sources: A. Wald, *Sequential Analysis*, Wiley 1947, sections 3.2 to 3.5; P. Armitage, J. R. Stat. Soc. B 12, 137 (1950);
A. Wald & J. Wolfowitz, Ann. Math. Stat. 19, 326 (1948).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..arguments import shown, whole
from ..class_scores import Decision, class_scores, class_times, leaders, reading
from ..datasets import Dataset
from ..errors import InputError
from ..losses import UNDECIDED, predict
from ..record import Recording
from ..spikes import Spikes
from .registry import Device, repetitions

#: Most runs of a sample: from there on a device is rather broken than noisy.
MOST_RUNS = 1000
#: Samples that answered alike in all layers when they ran again, after which the device counts as deterministic.
ALIKE = 8
#: Leads that are tried by :func:`chosen_lead`, quantiles of those that were seen.
CANDIDATES = 400


@dataclass(frozen=True)
class UntilSure:
    """How often a sample runs: until its best class leads by ``lead``, at most ``most`` times.

    Attributes
    ----------
    lead : float
        Sum over the runs of what the best class is ahead of the next: s for first spikes, spikes for ``"count"``, runs
        or shares of them for ``votes`` and ``temperature``. Infinite: always ``most`` runs, whose scores are averaged.
    most : int
    votes : bool
        Every run gives one vote to the class that it decides for, instead of its scores: what a single run may do is
        bounded then, whatever went wrong in it.
    temperature : float, optional
        Every run gives one vote, shared among the classes by ``softmax(scores / temperature)`` (s or spikes): how sure the run
        is counts, and what it may do is bounded. That of the loss, where the network was trained by cross-entropy: the shares
        are the probabilities that it learnt. Without it scores are added as they are.
    error : float, optional
        The stated error rate that ``lead`` was made for: of :meth:`for_noise` and :meth:`by_votes` against what very many runs
        would say, of :func:`sure_on` against what ``most`` runs say.
    """

    lead: float
    most: int = 10
    votes: bool = False
    temperature: float | None = None
    error: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "most", whole("most", self.most, 1, MOST_RUNS))
        if self.temperature is not None and (self.votes or not 0 < self.temperature < math.inf):
            raise InputError(
                f"temperature = {self.temperature}, votes = {self.votes}; allowed: finite and > 0 (s or spikes) with votes=False, or "
                "temperature=None"
            )
        if isinstance(self.lead, bool) or not isinstance(self.lead, int | float) or not self.lead > 0:
            raise InputError(
                f"lead = {shown(self.lead)}; allowed: > 0, s or spikes or votes (infinite: always {self.most} runs)"
            )

    @classmethod
    def for_noise(cls, error: float, *, noise: float, difference: float, most: int = 10) -> UntilSure:
        """The test of Wald for normal noise: ``lead = noise^2 ln((1 - error) / error) / (2 difference)``.

        Parameters
        ----------
        error : float
            Largest probability of the wrong one of two classes, for samples whose mean scores differ by ``difference`` or
            more, before ``most`` cuts it off.
        noise, difference : float (s or spikes)
            Standard deviation of the difference of two classes' scores from run to run; least difference of their means.
        """
        _probability("error", error)
        for name, value in (("noise", noise), ("difference", difference)):
            if not 0 < value < math.inf:
                raise InputError(f"{name} = {value}; allowed: finite and > 0 (s or spikes)")
        return cls(noise**2 * math.log((1 - error) / error) / (2 * difference), most, error=error)

    @classmethod
    def by_votes(cls, error: float, *, agreement: float, most: int = 100) -> UntilSure:
        """The same for votes: the least whole ``lead >= ln((1 - error) / error) / ln(agreement / (1 - agreement))``.

        ``agreement`` in (.5, 1): share of single runs that decide as very many would, for the samples that ``error`` is
        stated for. Of two classes, the wrong one leads first with probability ``1 / (1 + (p / (1 - p))^lead)``.
        """
        _probability("error", error)
        if not 0.5 < agreement < 1:
            raise InputError(f"agreement = {agreement}; allowed: .5 < agreement < 1 (a share of the runs)")
        lead = math.log((1 - error) / error) / math.log(agreement / (1 - agreement))
        return cls(float(max(1, math.ceil(lead - 1e-9))), most, votes=True, error=error)

    def scores(self, recording: Recording, decision: Decision) -> Tensor:
        """``[batch, classes]`` float64: what one run adds to each class."""
        scores = class_scores(recording.output, decision)
        if self.temperature is not None:
            shares = torch.softmax(scores / self.temperature, 1)
            return torch.where((recording.output.counts == 0)[:, None], 0.0, shares)
        if not self.votes:
            return scores
        decided = predict(recording, decision)
        votes = torch.nn.functional.one_hot(decided.clamp(min=0), scores.shape[1]).to(scores.dtype)
        return torch.where((decided == UNDECIDED)[:, None], 0.0, votes)


@dataclass(frozen=True, eq=False)
class Answers:
    """What :func:`decide` found.

    Attributes
    ----------
    decisions : ``[n]`` int64, -1 where no output neuron spiked in any run
    runs : ``[n]`` int64, runs of each sample
    unsure : ``[n]`` bool, samples that the last run allowed left without the lead
    deterministic : bool
        Samples that ran again answered as before in every layer: further runs were given up.
    """

    decisions: Tensor
    runs: Tensor
    unsure: Tensor
    deterministic: bool

    @property
    def mean_runs(self) -> float:
        """Runs of a sample on average."""
        return float(self.runs.double().mean())


def decide(device: Device, spikes: Spikes, repeats: UntilSure, *, decision: Decision = "first") -> Answers:
    """Run ``spikes`` on the loaded program until every sample is sure; only those that are not run again.

    With ``most=1`` the decisions are those of :func:`hwloop.losses.predict` for one run, bit for bit.

    Raises :class:`InputError` for a decision that is not of spikes.
    """
    reading_of_spikes(decision)
    recording = device.run(spikes)
    total, earliest = repeats.scores(recording, decision), _earliest(recording, decision)
    spiked = recording.output.counts > 0
    runs = torch.ones(len(spikes), dtype=torch.int64)
    waiting = torch.nonzero(lead_of(total) < repeats.lead)[:, 0]
    last, alike, deterministic = recording, 0, False
    rows = waiting
    for _ in range(1, repeats.most):
        if not len(waiting) or deterministic:
            break
        again = device.run(spikes[waiting])
        if alike >= 0:
            alike = alike + len(waiting) if _same(last, again, rows) else -1
            deterministic = alike >= ALIKE
        total[waiting] += repeats.scores(again, decision)
        earliest[waiting] += _earliest(again, decision)
        spiked[waiting] |= again.output.counts > 0
        runs[waiting] += 1
        rows = torch.nonzero(lead_of(total[waiting]) < repeats.lead)[:, 0]
        waiting, last = waiting[rows], again
    unsure = torch.zeros(len(spikes), dtype=torch.bool)
    unsure[waiting] = True
    decided = torch.where(spiked, leaders(total, earliest), UNDECIDED)
    return Answers(decided, runs, unsure, deterministic)


def reading_of_spikes(decision: Decision) -> None:
    """Refuse a decision that repeated runs cannot add up."""
    if reading(decision).kind not in ("first", "mean", "count"):
        raise InputError(
            f"decision = {decision!r} is not of spikes, which repeated runs add up; allowed: 'first', 'mean', 'count', "
            "or repeats as a whole number"
        )


def lead_of(scores: Tensor) -> Tensor:
    """``[...]``: what the best class of ``scores [..., classes]`` is ahead of the next; infinite where there is but one."""
    if scores.shape[-1] == 1:
        return scores.new_full(scores.shape[:-1], math.inf)
    best = scores.topk(2, -1).values
    return best[..., 0] - best[..., 1]


def _earliest(recording: Recording, decision: Decision) -> Tensor:
    """What breaks ties: minus the earliest first spike of each class (s)."""
    return -class_times(recording.output.detach(), reading(decision).neurons, "first").double()


def _same(before: Recording, again: Recording, rows: Tensor) -> bool:
    """Whether samples ``rows`` of ``before`` have the spikes of ``again``, in every layer."""
    return all(
        torch.equal(was[rows].times, now[:].times) and torch.equal(was[rows].units, now[:].units)
        for was, now in zip(before.populations, again.populations, strict=True)
    )


# -- chosen on data ---------------------------------------------------------------------------------


def sure_on(
    device: Device,
    data: Dataset,
    error: float | None = None,
    *,
    mean_runs: float | None = None,
    decision: Decision = "first",
    most: int = 10,
    replays: int = 2,
    votes: bool = False,
    temperature: float | None = None,
    batch_size: int = 1000,
) -> UntilSure:
    """The least ``lead`` with which at most ``error`` of the answers on ``data`` differ from those of ``most`` runs each.

    With ``mean_runs`` instead of ``error``: the largest lead that costs at most so many runs of a sample on average; the
    rule's ``error`` is what it comes to on ``data``.

    Every sample runs ``replays * most`` times, sure or not; what would have been answered early is compared with what all of
    its ``most`` runs say. No assumption is made on the noise, and no label is looked at. Give validation data, not those
    that accuracy is stated on: the rate holds for data of the same kind, up to ``sqrt(error / (replays * samples))``.

    Parameters
    ----------
    device : Device, with a loaded program
    data : Dataset
    error : float
        0 < error < .5, a share of the answers.
    mean_runs : float
        1 <= mean_runs <= most. State a little less than what there is: data that are answered later run as often up to chance.
    decision : how the output is read, as in :func:`hwloop.losses.predict`
    most, votes, temperature : as of :class:`UntilSure`
    replays : int
    batch_size : samples at a time

    Raises
    ------
    InputError
        The device answers alike every time; options out of range; both of ``error`` and ``mean_runs``, or none.
    """
    rule, replays = UntilSure(math.inf, most, votes, temperature, error), whole("replays", replays)
    _one_aim(error, mean_runs, rule.most)
    reading_of_spikes(decision)
    found: list[Tensor] = []
    noisy = rule.most == 1
    for inputs, _ in data.batches(batch_size):
        for _ in range(replays):
            parts = repetitions(device.run(inputs, repeats=rule.most), rule.most)
            noisy = noisy or not all(_same(parts[0], part, torch.arange(len(inputs))) for part in parts[1:])
            found.append(torch.stack([rule.scores(part, decision) for part in parts]))
    if not noisy:
        raise InputError(
            f"{device.device_id} gives the same spikes in each of {rule.most} runs: it has no noise that repeats average; measure "
            "once, repeats=1"
        )
    scores = torch.cat(found, 1)
    if mean_runs is None:
        return replace(rule, lead=chosen_lead(scores, error))  # type: ignore[arg-type]  # one of the two is given
    lead, error = affordable_lead(scores, mean_runs)
    return replace(rule, lead=lead, error=error)


def chosen_lead(scores: Tensor, error: float) -> float:
    """The least lead with which at most ``error`` of the answers by ``scores [runs, n, classes]`` differ from those of all runs."""
    ahead, decided = _after_each(scores)
    best = math.inf
    for lead in reversed(_candidates(ahead)):
        if replayed_error(ahead, decided, lead) > error:
            break
        best = lead
    return best


def affordable_lead(scores: Tensor, mean_runs: float) -> tuple[float, float]:
    """The largest lead that costs at most ``mean_runs`` on average, and its error, by ``scores [runs, n, classes]``."""
    ahead, decided = _after_each(scores)
    for lead in [math.inf, *reversed(_candidates(ahead))]:
        if float((_stops(ahead, lead) + 1).double().mean()) <= mean_runs:
            return lead, replayed_error(ahead, decided, lead)
    raise InputError(
        f"mean_runs = {mean_runs:g}: samples without any lead run {len(scores)} times, which costs more on average; allowed: more "
        f"runs, or a smaller most than {len(scores)}"
    )


def _after_each(scores: Tensor) -> tuple[Tensor, Tensor]:
    """After each run: what the best class is ahead, and which it is, each ``[runs, n]``."""
    total = scores.cumsum(0)
    return lead_of(total), total.argmax(2)


def _candidates(ahead: Tensor) -> list[float]:
    """Leads to try, ascending: quantiles of those that were seen."""
    seen = ahead[ahead > 0].sort().values
    places = torch.linspace(0, 1, CANDIDATES, dtype=torch.float64) * max(0, len(seen) - 1)
    return torch.unique(seen[places.long()] if len(seen) else seen).tolist()  # type: ignore[no-any-return]


def _stops(ahead: Tensor, lead: float) -> Tensor:
    """Index of each sample's last run at ``lead``, ``[n]``."""
    sure = ahead >= lead
    return torch.where(sure.any(0), sure.to(torch.uint8).argmax(0), len(ahead) - 1)


def replayed_error(ahead: Tensor, decided: Tensor, lead: float) -> float:
    """Share of samples whose answer at ``lead`` is not that of all runs; ``ahead`` and ``decided [runs, n]`` after each run."""
    return float((decided.gather(0, _stops(ahead, lead)[None])[0] != decided[-1]).double().mean())


def _probability(name: str, value: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 0.5:
        raise InputError(f"{name} = {shown(value)}; allowed: 0 < {name} < .5 (a share of the answers)")


def _one_aim(error: float | None, mean_runs: float | None, most: int) -> None:
    if (error is None) == (mean_runs is None):
        raise InputError(f"error = {error}, mean_runs = {mean_runs}; allowed: one of the two, the other None")
    if error is not None:
        _probability("error", error)
    elif isinstance(mean_runs, bool) or not isinstance(mean_runs, int | float) or not 1 <= mean_runs <= most:
        raise InputError(f"mean_runs = {shown(mean_runs)}; allowed: 1 <= mean_runs <= most = {most}")
