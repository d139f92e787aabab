"""DataGate: the node between ExampleValidator and Transform."""

from __future__ import annotations

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import standard_artifacts
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from modules.columns import AnyDataset
from modules.gate import Mode
from pipeline.components.gate import executor


class DataGateSpec(ComponentSpec):
    """Contract of DataGate; see there."""

    PARAMETERS = {  # noqa: RUF012  the base class reads it as it is
        executor.DATASET_KEY: ExecutionParameter(type=str),
        executor.ANOMALIES_MODE_KEY: ExecutionParameter(type=str),
        executor.DRIFT_MODE_KEY: ExecutionParameter(type=str),
    }
    INPUTS = {  # noqa: RUF012
        executor.ANOMALIES_KEY: ChannelParameter(type=standard_artifacts.ExampleAnomalies),
        executor.STATISTICS_KEY: ChannelParameter(type=standard_artifacts.ExampleStatistics),
        executor.SCHEMA_KEY: ChannelParameter(type=standard_artifacts.Schema),
        executor.BASELINE_KEY: ChannelParameter(type=standard_artifacts.ExampleStatistics, optional=True),
    }
    OUTPUTS = {  # noqa: RUF012
        executor.REPORT_KEY: ChannelParameter(type=standard_artifacts.ExampleAnomalies),
    }


class DataGate(base_component.BaseComponent):
    """Opens, or stops the run with `GateClosed` and one line per finding.

    Put Transform (and whatever else must not see bad data) behind it with `add_upstream_node`. Output `gate_report`
    is an ExampleAnomalies artifact with the custom properties `blessed` (1) and `statistics_id`, and the file
    `report.json`: rows, warnings, drift against the baseline and, for information, the distance of train and test.
    """

    SPEC_CLASS = DataGateSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        anomalies: types.BaseChannel,
        statistics: types.BaseChannel,
        schema: types.BaseChannel,
        dataset: AnyDataset,
        *,
        baseline_statistics: types.BaseChannel | None = None,
        anomalies_mode: Mode = "stop",
        drift_mode: Mode = "stop",
    ) -> None:
        """
        Args:
          anomalies: ExampleValidator's output.
          statistics: StatisticsGen's output, the one the anomalies were found in.
          schema: the schema they were found against.
          dataset: thresholds and the columns they are for.
          baseline_statistics: statistics of the last accepted run; none, or an empty channel, means no drift check.
          anomalies_mode: "stop", "warn" or "off".
          drift_mode: "stop", "warn" or "off".
        """
        super().__init__(
            DataGateSpec(
                anomalies=anomalies,
                statistics=statistics,
                schema=schema,
                baseline_statistics=baseline_statistics,
                dataset=dataset.model_dump_json(),
                anomalies_mode=anomalies_mode,
                drift_mode=drift_mode,
                gate_report=types.Channel(type=standard_artifacts.ExampleAnomalies),
            )
        )
