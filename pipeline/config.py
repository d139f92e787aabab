"""Everything a user sets, typed and frozen: a model file under configs/, its dataset file and its runner file."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from modules.columns import columns
from modules.configuration import configuration_hash, load
from modules.convergence import CheckSettings, EpochCheckSettings
from modules.dataset import Dataset
from modules.errors import ConfigError
from modules.evaluation.settings import EvaluationSettings, NextActionEvaluationSettings
from modules.explanation.settings import ImportanceSettings
from modules.journeys.dataset import JourneyDataset
from modules.lead_scoring.settings import LeadScoringSettings
from modules.off_policy.settings import PolicyValueSettings
from modules.recommendation.settings import RecommendationSettings
from modules.serving_check.settings import ServingCheckSettings
from modules.tuning.models import LEAD_SCORING, RECOMMENDATION
from modules.tuning.settings import TuningSettings
from modules.tuning.space import tunes
from modules.validation.check import check_dataset
from modules.validation.settings import NextActionValidationSettings, ValidationSettings

FROZEN = ConfigDict(frozen=True, extra="forbid")
PROJECT = Path(__file__).resolve().parent.parent


def _spelled_off(value: Any) -> Any:
    # YAML 1.1 reads a bare `off` as false.
    return "off" if value is False else value


class GateSettings(BaseModel):
    """What closes the data gate."""

    model_config = FROZEN
    anomalies: Literal["stop", "warn"] = Field(default="stop", description="schema anomalies of ExampleValidator")
    drift: Annotated[Literal["stop", "warn", "off"], BeforeValidator(_spelled_off)] = Field(
        default="stop", description="distance to the statistics of the last accepted run"
    )


class InfraSettings(BaseModel):
    """The infrastructure check."""

    model_config = FROZEN
    kind: Annotated[Literal["session", "docker", "off"], BeforeValidator(_spelled_off)] = Field(
        default="session",
        description="session: our check, no Docker; docker: TFX's InfraValidator with the TensorFlow Serving image",
    )
    session: ServingCheckSettings = ServingCheckSettings()
    image_tag: str = Field(default="2.19.1", description="docker only: tag of the tensorflow/serving image")


class TransformSettings(BaseModel):
    """TFX Transform."""

    model_config = FROZEN
    materialize: bool = Field(
        default=False,
        description="write transformed examples; otherwise the Trainer applies the Transform graph to raw examples, "
        "which is faster and gives the same matrix",
    )


class PipelineConfig(BaseModel):
    """A model file under configs/: what all models have."""

    model_config = FROZEN
    name: str = Field(pattern=r"^[a-z][a-z0-9-]*$", description="name of the pipeline and of the served model")
    dataset: str = Field(description="name of a file under configs/datasets/, or a path")
    runner: str = Field(default="local", description="name of a file under configs/runners/, or a path")
    transform: TransformSettings = TransformSettings()
    gate: GateSettings = GateSettings()
    infra: InfraSettings = InfraSettings()
    importance: ImportanceSettings | None = Field(
        default=ImportanceSettings(),
        description="what matters to the model, for summary and report; null: not measured",
    )


class LeadScoringConfig(PipelineConfig):
    """How good is a lead? One row per lead."""

    kind: Literal["lead_scoring"] = "lead_scoring"
    model: LeadScoringSettings = LeadScoringSettings()
    validation: ValidationSettings = ValidationSettings()
    tuning: Annotated[TuningSettings | None, AfterValidator(tunes(LEAD_SCORING))] = Field(
        default=None, description="the search for settings; null: those of `model` as they are"
    )
    evaluation: EvaluationSettings = EvaluationSettings()
    checks: CheckSettings = CheckSettings()


class RecommendationConfig(PipelineConfig):
    """What should be done next with a lead? One row per event of its journey."""

    kind: Literal["recommendation"]
    model: RecommendationSettings = RecommendationSettings()
    validation: NextActionValidationSettings = NextActionValidationSettings()
    tuning: Annotated[TuningSettings | None, AfterValidator(tunes(RECOMMENDATION))] = Field(
        default=None, description="the search for settings; null: those of `model` as they are"
    )
    evaluation: NextActionEvaluationSettings = NextActionEvaluationSettings()
    value: PolicyValueSettings = PolicyValueSettings()
    checks: EpochCheckSettings = EpochCheckSettings()

    @model_validator(mode="after")
    def _not_materialized(self) -> RecommendationConfig:
        if self.transform.materialize:
            raise ValueError("transform.materialize: training reads raw examples of journeys; leave it false")
        return self


ModelConfig = LeadScoringConfig | RecommendationConfig

_KINDS: dict[str, type[ModelConfig]] = {
    "lead_scoring": LeadScoringConfig,
    "recommendation": RecommendationConfig,
}


def _config_class(values: dict[str, Any]) -> type[ModelConfig]:
    kind = values.get("kind", "lead_scoring")
    if kind not in _KINDS:
        raise ValueError(f"kind: expected {' or '.join(_KINDS)}; received {kind!r}")
    return _KINDS[kind]


def _dataset_class(values: dict[str, Any]) -> type[Dataset | JourneyDataset]:
    return JourneyDataset if "events" in values else Dataset


class RunnerConfig(BaseModel):
    """A runner file under configs/runners/: Beam options by name."""

    model_config = FROZEN
    beam: dict[str, str | int | float | bool | list[str]] = Field(default_factory=dict)

    def beam_args(self) -> list[str]:
        """Options as Beam's command line spells them.

        Without a `setup_file` TFX packs its own sources into an archive for every Beam component, three seconds each.
        """
        args: list[str] = [] if "setup_file" in self.beam else [f"--setup_file={PROJECT / 'setup.py'}"]
        for key, value in self.beam.items():
            for item in value if isinstance(value, list) else [value]:
                if item is True:
                    args.append(f"--{key}")
                elif item is not False:
                    args.append(f"--{key}={item}")
        return args


class Run(BaseModel):
    """One effective configuration: what `create_pipeline` is a pure function of."""

    model_config = FROZEN
    config: ModelConfig
    dataset: Dataset | JourneyDataset
    runner: RunnerConfig
    root: Path
    servable: str
    span: int | None = None
    schema_file: Path | None = None
    foreign_slices: tuple[str, ...] = ()
    """Slices of the model file that the dataset, picked on the command line, has no features for."""

    @property
    def hash(self) -> str:
        """`configuration_hash` of a model version: everything but where the run happens."""
        return configuration_hash(self.config, self.dataset)

    @property
    def pipeline_root(self) -> Path:
        return self.root / "artifacts" / self.servable

    @property
    def metadata_path(self) -> Path:
        return self.root / "metadata" / f"{self.servable}.sqlite"

    @property
    def serving_dir(self) -> Path:
        """Where versions of this model are published: `<root>/serving/<servable>/<integer>/`."""
        return self.root / "serving" / self.servable

    @property
    def tuning_dir(self) -> Path:
        """Where the trials of a search outlive a run that was killed."""
        return self.root / "tuning" / self.servable

    @property
    def log_dir(self) -> Path:
        return self.root / "logs"


def load_run(
    config_file: Path | str,
    *,
    dataset: str | None = None,
    root: Path | str = "build",
    overrides: dict[str, Any] | None = None,
    span: int | None = None,
) -> Run:
    """Reads the model file, its dataset and runner files, and lays `overrides` over them.

    Overrides whose key starts with `dataset.` go to the dataset file, `runner.` to the runner file, the rest to the
    model file; `dataset=NAME` picks another dataset file.

    Raises:
      ConfigError: see `modules.configuration.load`.
    """
    overrides = dict(overrides or {})
    if dataset is not None:
        overrides["dataset"] = dataset
    for_dataset = {k.removeprefix("dataset."): v for k, v in overrides.items() if k.startswith("dataset.")}
    for_runner = {k.removeprefix("runner."): v for k, v in overrides.items() if k.startswith("runner.")}
    for_model = {k: v for k, v in overrides.items() if not k.startswith(("dataset.", "runner."))}
    config = load(config_file, _config_class, for_model)
    declared = load(config_file, _config_class, {k: v for k, v in for_model.items() if k != "dataset"})
    data = load_dataset(config.dataset, for_dataset)
    journeys = isinstance(config, RecommendationConfig)
    if isinstance(data, JourneyDataset) != journeys:
        expected = "journeys, with `events`" if journeys else "leads, without `events`"
        raise ConfigError(f"{config_file}: a {config.kind} model needs a dataset of {expected}; received {data.name!r}")
    if isinstance(config, LeadScoringConfig) and isinstance(data, Dataset):
        check_dataset(config.validation, data)
    runner = load(find_config("runners", config.runner), RunnerConfig, for_runner)
    same = Path(declared.dataset).stem == Path(config.dataset).stem
    servable = config.name if same else f"{config.name}-{data.name.replace('_', '-')}"
    config, foreign = (config, ()) if same else without_foreign_slices(config, data)
    return Run(
        config=config,
        dataset=data,
        runner=runner,
        root=Path(root).absolute(),
        servable=servable,
        span=span,
        foreign_slices=foreign,
        schema_file=next((p for p in schema_files(data.name) if p.is_file()), None),
    )


def without_foreign_slices(config: ModelConfig, data: Dataset | JourneyDataset) -> tuple[ModelConfig, tuple[str, ...]]:
    """A model file's slices name features of its own dataset; those that another one lacks go.

    Returns:
      The configuration, and the slices that went, as text.
    """
    known = {column.name for column in columns(data)}
    slices = config.evaluation.slices
    kept = tuple(features for features in slices if set(features) <= known)
    if len(kept) == len(slices):
        return config, ()
    changes: dict[str, Any] = {"slices": kept}
    if not kept:
        changes["per_slice"] = type(config.evaluation.per_slice)()
    evaluation = config.evaluation.model_copy(update=changes)
    gone = tuple(" and ".join(features) for features in slices if features not in kept)
    return config.model_copy(update={"evaluation": evaluation}), gone


def schema_files(dataset: str) -> tuple[Path, ...]:
    """Where the curated schema of a dataset may lie: below the current directory, or in the project."""
    return tuple(base / "schema" / dataset / "schema.pbtxt" for base in (Path.cwd(), PROJECT))


def load_dataset(name: str, overrides: dict[str, Any] | None = None) -> Dataset | JourneyDataset:
    """A dataset by the name of its file under configs/datasets/, or by path; one of journeys if it has `events`."""
    return load(find_config("datasets", name), _dataset_class, overrides)


def load_leads(name: str, overrides: dict[str, Any] | None = None) -> Dataset:
    """As `load_dataset`, for commands that work on tables of leads.

    Raises:
      ConfigError: it is a dataset of journeys.
    """
    dataset = load_dataset(name, overrides)
    if isinstance(dataset, JourneyDataset):
        raise ConfigError(f"dataset {name!r} is one of journeys; this command needs a table of leads")
    return dataset


def find_config(folder: str, name: str) -> Path:
    """A YAML file by path, or by name under ./configs/<folder>, or under the project's own configs/<folder>."""
    if name.endswith((".yaml", ".yml")) or "/" in name:
        return Path(name)
    for base in (Path("configs"), PROJECT / "configs"):
        path = base / folder / f"{name}.yaml"
        if path.is_file():
            return path
    known = sorted(p.stem for p in (PROJECT / "configs" / folder).glob("*.yaml"))
    raise ConfigError(f"no file configs/{folder}/{name}.yaml", [f"there is: {k}" for k in known])


@cache
def code_hash() -> str:
    """SHA-256 over the sources that run inside components: other code must not meet a cached result."""
    digest = hashlib.sha256()
    for folder in ("modules", "pipeline/components"):
        for path in sorted((PROJECT / folder).rglob("*.py")):
            digest.update(path.relative_to(PROJECT).as_posix().encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
