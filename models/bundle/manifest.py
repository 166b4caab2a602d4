"""What a bundle says of itself; `files` may be empty here, as the archive fills it in and demands it."""

import re
from collections.abc import Iterable
from functools import cached_property
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PositiveInt, StringConstraints, model_validator

MANIFEST_FILE = "bundle.json"

_SEPARATORS = re.compile(r"[\s_-]+")


def canonical(name: str) -> str:
    """A name as it is compared: lower case, one `-` for any run of `-`, `_` and spaces (`Blond_Hair`: `blond-hair`)."""
    return _SEPARATORS.sub("-", name.strip().lower()).strip("-")


def schema() -> dict[str, Any]:
    """The JSON Schema of `bundle.json`, as published in docs/bundle.schema.json."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Manifest.model_json_schema()}


def _alias(name: str) -> str:
    if not re.fullmatch(_CANONICAL, canonical(name)):
        raise ValueError(f"alias {name!r} may only hold letters a-z, digits, '-', '_' and spaces")
    return name


def _safe_path(path: str) -> str:
    parts = path.split("/")
    if any(not part or part.startswith(".") for part in parts) or re.search(r"[\\:\x00-\x1f\x7f]", path):
        raise ValueError(f"file {path!r} must be a relative path with '/', without hidden parts, '..', '\\' and ':'")
    if len(path.encode()) > _LONGEST_PATH:
        raise ValueError(f"file {path[:40]!r}... is longer than {_LONGEST_PATH} bytes")
    if path.lower() == MANIFEST_FILE:
        raise ValueError(f"{MANIFEST_FILE} cannot list itself")
    return path


_CANONICAL = r"[a-z0-9]+(-[a-z0-9]+)*"
_LONGEST_PATH = 200

CanonicalName = Annotated[str, StringConstraints(pattern=f"^{_CANONICAL}$", max_length=64)]
Alias = Annotated[str, StringConstraints(min_length=1, max_length=64), AfterValidator(_alias)]
BundleName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+([._-][a-z0-9]+)*$", max_length=64)]
Version = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9]+([.+_-][A-Za-z0-9]+)*$", max_length=64)]
GraphName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+([_-][a-z0-9]+)*$", max_length=64)]
SafePath = Annotated[str, AfterValidator(_safe_path)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)


class Domain(_Part):
    """What pictures of one kind share; the target of a translation."""

    name: CanonicalName
    """The canonical name: lower case, a-z, 0-9 and single '-'."""
    group: CanonicalName | None = None
    """Domains of one group exclude each other."""
    aliases: tuple[Alias, ...] = ()
    """Other names, matched without case; '-', '_' and spaces are one."""
    graph: GraphName = "generator"
    """The graph that makes it."""
    column: Annotated[int, Field(ge=0)] | None = None
    """Its place in the label vector; null where the graph has this one fixed target."""
    mask: CanonicalName | None = None
    """The mask column that is 1 when this domain is asked for; needed where the manifest has mask columns."""

    @property
    def spellings(self) -> tuple[str, ...]:
        """The name and the aliases, canonical, without repetition."""
        return tuple(dict.fromkeys((self.name, *map(canonical, self.aliases))))


class Graph(_Part):
    """One ONNX file, float32 in and out.

    Takes `pixels` [n,3,h,w] in the picture's range; gives `translated` (same shape), or `logits` [n,c] as a classifier.
    """

    file: SafePath
    """Path relative to the bundle."""
    labels: bool = False
    """Whether it takes `labels` float32 [n,c] beside `pixels`."""


class Picture(_Part):
    """How a picture becomes the network's tensor, and back."""

    size: PositiveInt
    """The side of the square that the network was trained with, in pixels."""
    multiple: PositiveInt = 1
    """Sides must be multiples of this, in pixels."""
    free: bool = False
    """Whether height and width are dynamic; if not, both are `size`."""
    channels: Literal["rgb", "bgr"] = "rgb"
    """Channel order of the tensor."""
    range: tuple[float, float] = (-1.0, 1.0)
    """Tensor values of black and of white."""
    resize: Literal["bilinear", "bicubic", "lanczos"] = "bicubic"
    """Pillow's antialiased resize filter."""
    crop: Literal["none", "centre", "face"] = "centre"
    """What is cut out before resizing; none: the whole picture, whatever its aspect."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.size % self.multiple:
            raise ValueError(f"size {self.size} is not a multiple of {self.multiple}")
        if self.range[0] >= self.range[1]:
            raise ValueError(f"range {self.range} must rise from black to white")
        return self


class Sample(_Part):
    """A picture to try the bundle with."""

    file: SafePath
    """Path relative to the bundle, under samples/."""
    title: str = ""
    """What it shows."""

    @model_validator(mode="after")
    def _under_samples(self) -> Self:
        if not self.file.startswith("samples/"):
            raise ValueError(f"sample {self.file!r} must lie under samples/")
        return self


class Manifest(_Part):
    """The content of `bundle.json`."""

    schema_version: Literal[1] = 1
    """Version of this format."""
    name: BundleName
    """The bundle's name, as in `model=`."""
    version: Version
    """Dotted numbers are compared as numbers."""
    title: str = ""
    """The name for people."""
    family: CanonicalName
    """The GAN system: stargan, cyclegan, pix2pix, ..."""
    task: Literal["translate", "generate", "score"] = "translate"
    """What the graphs do."""
    domains: tuple[Domain, ...] = ()
    """The targets; at least one where the task is translate."""
    graphs: dict[GraphName, Graph]
    """Graph name to ONNX file."""
    picture: Picture
    """The tensor's layout."""
    classifier: GraphName | None = None
    """The graph whose logits tell a picture's own labels: softmax within a group, sigmoid elsewhere."""
    label_order: tuple[CanonicalName, ...] = ()
    """Domain names by column."""
    mask_columns: tuple[CanonicalName, ...] = ()
    """Joint training's mask vector, one column a data set, appended after the labels."""
    precision: Literal["fp32", "fp16"] = "fp32"
    """Arithmetic inside the graphs; inputs and outputs are float32 always."""
    region: Literal["whole", "face"] = "whole"
    """What is translated when a request leaves it open."""
    licence: str
    """SPDX identifier or a sentence."""
    samples: tuple[Sample, ...] = ()
    """Pictures for the page."""
    files: dict[SafePath, Sha256] = {}
    """Relative path to SHA-256 of every file but bundle.json."""
    training: dict[str, Any] = {}
    """Facts of the training: data, steps, options."""
    metrics: dict[str, float] = {}
    """Figures by name."""

    @property
    def ref(self) -> str:
        """`name@version`."""
        return f"{self.name}@{self.version}"

    @cached_property
    def groups(self) -> dict[str, tuple[Domain, ...]]:
        """Group name to its domains, in the manifest's order."""
        names = dict.fromkeys(domain.group for domain in self.domains if domain.group is not None)
        return {name: tuple(domain for domain in self.domains if domain.group == name) for name in names}

    def find(self, name: str) -> Domain | None:
        """The domain of that name or alias, in any case and with any separators."""
        return self._spellings.get(canonical(name))

    @cached_property
    def _spellings(self) -> dict[str, Domain]:
        return {spelling: domain for domain in self.domains for spelling in domain.spellings}

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.task == "translate" and not self.domains:
            raise ValueError("a bundle that translates needs at least one domain")
        _unique("domain name or alias", (spelling for domain in self.domains for spelling in domain.spellings))
        _unique("mask column", self.mask_columns)
        _check_graphs(self)
        _check_columns(self)
        _check_groups(self)
        _check_files(self.files)
        return self


def _unique(what: str, values: Iterable[str]) -> None:
    seen: set[str] = set()
    for value in values:
        if value in seen:
            raise ValueError(f"{what} {value!r} is given twice")
        seen.add(value)


def _check_graphs(manifest: Manifest) -> None:
    for domain in manifest.domains:
        graph = manifest.graphs.get(domain.graph)
        if graph is None:
            raise ValueError(f"domain {domain.name!r} names graph {domain.graph!r}, but there is none of that name")
        if graph.labels != (domain.column is not None):
            raise ValueError(
                f"domain {domain.name!r} needs a column exactly if graph {domain.graph!r} takes labels "
                f"(column: {domain.column}, labels: {graph.labels})"
            )
    if manifest.classifier is None:
        return
    classifier = manifest.graphs.get(manifest.classifier)
    if classifier is None:
        raise ValueError(f"classifier names graph {manifest.classifier!r}, but there is none of that name")
    if classifier.labels or not manifest.label_order:
        raise ValueError(f"classifier {manifest.classifier!r} must read pixels alone, and needs a label_order")


def _check_columns(manifest: Manifest) -> None:
    columns = {domain.name: domain.column for domain in manifest.domains if domain.column is not None}
    if columns != {name: column for column, name in enumerate(manifest.label_order)}:
        raise ValueError(
            f"label_order {list(manifest.label_order)} must name the domain of each column from 0; found {columns}"
        )
    if len(columns) != len(manifest.label_order):
        raise ValueError(f"label_order {list(manifest.label_order)} names a domain twice")
    for domain in manifest.domains:
        masked = domain.column is not None and bool(manifest.mask_columns)
        if masked != (domain.mask is not None) or (masked and domain.mask not in manifest.mask_columns):
            raise ValueError(f"domain {domain.name!r} has mask {domain.mask!r} of {list(manifest.mask_columns)}")


def _check_groups(manifest: Manifest) -> None:
    for name, members in manifest.groups.items():
        if len(members) < 2:
            raise ValueError(f"group {name!r} has {len(members)} member; it needs at least 2")
        if len({(member.column is None, member.mask) for member in members}) > 1:
            raise ValueError(f"the members of group {name!r} must all have columns or none, and share their mask")


def _check_files(files: Iterable[str]) -> None:
    lower = [path.lower() for path in files]
    _unique("file, compared without case,", lower)
    folders = {str(parent) for path in lower for parent in PurePosixPath(path).parents}
    if clash := folders & set(lower):
        raise ValueError(f"{min(clash)!r} is listed as a file and used as a folder")
