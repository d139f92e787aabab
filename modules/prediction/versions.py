"""Which published version answers, and what its signature takes and gives; nothing is loaded for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from modules.dataset import Dataset
from modules.errors import ConfigError, NotBlessed
from modules.features import Kind
from modules.native.protos import DataType, SavedModel, SignatureDef
from modules.publishing import versions

SIGNATURE = "predict_columns"
SAVED_MODEL = "saved_model.pb"
_FIRST = ("score", "probability", "probability_low", "probability_high", "confidence")
_DTYPE = {kind: DataType.DT_FLOAT if kind is Kind.NUMERIC else DataType.DT_STRING for kind in Kind}


@dataclass(frozen=True)
class ModelVersion:
    """A SavedModel: the name and the number that it is served as (None: its folder has no number), and its folder."""

    name: str
    version: int | None
    path: Path

    def __str__(self) -> str:
        return f"{self.name} version {self.version}" if self.version is not None else f"{self.name} in {self.path}"


@dataclass(frozen=True)
class Endpoint:
    """A tensor of the graph behind a name of a signature. dtype: TF_DataType."""

    name: str
    tensor: str
    dtype: int


@dataclass(frozen=True)
class Signature:
    """What is fed, a column [n] each, and what is fetched, a column [n] each, in the order of the output files."""

    inputs: tuple[Endpoint, ...]
    outputs: tuple[Endpoint, ...]


def find_version(name: str, base: Path, version: int | None = None) -> ModelVersion:
    """The newest version under `base`, or the one asked for; `base` may also be a SavedModel itself.

    Args:
      name: what the model is called.
      base: folder of versions, as the Pusher writes it.
      version: its number; the largest otherwise.

    Raises:
      NotBlessed: nothing has been published there.
      ConfigError: there is no such version, or it is no SavedModel.
    """
    if (base / SAVED_MODEL).is_file():
        number = int(base.name) if base.name.isdecimal() else None
        if version is not None and version != number:
            raise ConfigError(f"--version {version}: {base} is itself a SavedModel, {number or 'without a version'}")
        return ModelVersion(name, number, base)
    found = versions(base)
    if not found:
        raise NotBlessed(
            f"no blessed model of {name}: expected a version in {base}, there is none",
            ["`aiqleads run` trains one and publishes it if it passes; --root or --model-dir points elsewhere"],
        )
    if version is not None and version not in found:
        raise ConfigError(
            f"{name} has no version {version} in {base}", [f"versions there are: {', '.join(map(str, found[-20:]))}"]
        )
    number = found[-1] if version is None else version
    path = base / str(number)
    if not (path / SAVED_MODEL).is_file():
        raise ConfigError(f"{path} is no SavedModel: expected {SAVED_MODEL} in it")
    return ModelVersion(name, number, path)


def read_signature(model: ModelVersion, name: str = SIGNATURE) -> Signature:
    """Reads a signature from the SavedModel's file.

    Raises:
      ConfigError: the file is damaged, or the model has no such signature.
    """
    path = model.path / SAVED_MODEL
    try:
        saved = SavedModel.FromString(path.read_bytes())
    except Exception as e:
        raise ConfigError(f"{path} cannot be read as a SavedModel: {e}") from e
    graphs = [g for g in saved.meta_graphs if "serve" in g.meta_info_def.tags]
    signatures: Mapping[str, SignatureDef] = graphs[0].signature_def if graphs else {}
    if name not in signatures:
        raise ConfigError(
            f"{model} has no signature {name!r}, which takes one tensor per raw feature",
            [f"signatures there are: {', '.join(sorted(signatures)) or 'none'}"],
        )
    found = signatures[name]
    order = {output: i for i, output in enumerate(_FIRST)}
    outputs = sorted(found.outputs, key=lambda output: (order.get(output, len(order)), output))
    return Signature(
        tuple(Endpoint(i, found.inputs[i].name, found.inputs[i].dtype) for i in sorted(found.inputs)),
        tuple(Endpoint(o, found.outputs[o].name, found.outputs[o].dtype) for o in outputs),
    )


def check_inputs(model: ModelVersion, signature: Signature, dataset: Dataset, more: tuple[Endpoint, ...] = ()) -> None:
    """ConfigError unless the dataset's features are what the model takes, by name and kind; more: output columns."""
    kinds = {feature.name: feature.kind for feature in dataset.table}
    taken = {endpoint.name: endpoint.dtype for endpoint in signature.inputs}
    wrong = [f"{name}: the model takes it, the dataset has no such feature" for name in taken.keys() - kinds.keys()]
    for name in taken.keys() & kinds.keys():
        if taken[name] != _DTYPE[kinds[name]]:
            what = DataType.Name(taken[name])
            wrong.append(f"{name}: the model takes {what}, the dataset says {kinds[name].value}")
    if wrong:
        raise ConfigError(
            f"{model} was not trained on the features of dataset {dataset.name!r}",
            [*sorted(wrong), "--dataset or --version picks the ones that belong together"],
        )
    names = [dataset.id_feature, *(o.name for o in (*signature.outputs, *more)), "model", "version"]
    if len(set(names)) < len(names):
        raise ConfigError(
            f"dataset {dataset.name!r}: the id column {dataset.id_feature!r} has the name of a column of the output",
            [f"columns of the output: {', '.join(names[1:])}"],
        )
