"""From the configuration to witnesses and an endpoint. The libraries are imported only when they are used."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from launchcore.config.values import AgentConfig
from launchcore.plugin import LaunchError, Reason
from launchcore.telemetry.gauges import Gauges
from launchcore.telemetry.witness import Witnesses


@contextmanager
def telemetry(
    config: AgentConfig, witnesses: Witnesses, *, agent: str, version: str, look: Callable[[], Gauges]
) -> Iterator[tuple[str, ...]]:
    """Serve metrics and send traces, as configured, while the agent works. Gives a line for each.

    :raises LaunchError: ``config_error``: a library is not installed, or the address cannot be had.
    """
    lines: list[str] = []
    with ExitStack() as stack:
        if config.metrics_address is not None:
            try:
                from launchcore.telemetry.metrics import Metrics
                from launchcore.telemetry.serving import Endpoint
            except ImportError as error:
                raise _not_installed("metrics_address", "metrics", error) from None
            metrics = Metrics(agent, look)
            endpoint = Endpoint(
                config.metrics_address, metrics=metrics.text, look=look, lease_seconds=config.lease_seconds
            )
            stack.callback(endpoint.close)
            witnesses.add(metrics)
            lines.append(f"metrics at {endpoint.url}/metrics")
        if config.traces_endpoint is not None:
            try:
                from launchcore.telemetry.traces import Traces
            except ImportError as error:
                raise _not_installed("traces_endpoint", "traces", error) from None
            witnesses.add(Traces(config.traces_endpoint, agent=agent, version=version))
            lines.append(f"traces go to {config.traces_endpoint}")
        stack.callback(witnesses.close)
        yield tuple(lines)


def _not_installed(key: str, extra: str, error: ImportError) -> LaunchError:
    return LaunchError(
        f"{key} is set, but {error.name or 'its library'} is not installed",
        reason=Reason.CONFIG_ERROR,
        hint=f"pip install 'launchcore[{extra}]'",
    )
