"""PromQL, put together. Everything is chosen by the dashboard's variables, and every range is Grafana's, unless a panel says which."""

from __future__ import annotations

INTERVAL = "$__rate_interval"
HERE = 'job=~"$job",instance=~"$instance"'


def of(name: str, *more: str) -> str:
    """A metric of the chosen processes; `more` are further matchers."""
    return f"{name}{{{','.join([HERE, *more])}}}"


def rate(name: str, *more: str) -> str:
    """Of a counter: by the second."""
    return f"rate({of(name, *more)}[{INTERVAL}])"


def grown(name: str, *more: str, over: str = INTERVAL) -> str:
    """Of a counter: by how much, over a time."""
    return f"increase({of(name, *more)}[{over}])"


def live(expr: str, over: str = "") -> str:
    """Without the processes that are shadows: they tell nobody anything."""
    return f"({expr} and on (job, instance) {shadows(over)} == 0)"


def shadow(expr: str, over: str = "") -> str:
    """Of the processes that are shadows alone."""
    return f"({expr} and on (job, instance) {shadows(over)} == 1)"


def shadows(over: str) -> str:
    """1 for each shadow, 0 for the others; also of processes that were there in the time `over`, and are gone."""
    is_one = of("detector_shadow")
    return f"max_over_time({is_one}[{over}])" if over else is_one


def age(name: str, *more: str) -> str:
    """Of a time: how long ago. 0 is no time: what never was has no age."""
    return f"time() - ({of(name, *more)} > 0)"


def quantile(q: float, name: str, *more: str, over: str = INTERVAL) -> str:
    """Of a histogram, over the chosen processes together."""
    return f"histogram_quantile({q:g}, sum by (le) ({grown(name + '_bucket', *more, over=over)}))"
