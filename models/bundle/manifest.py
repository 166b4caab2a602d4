"""What a bundle says about itself: domains, graphs and their ports, and how a picture becomes a tensor.

`files` may be empty here: the archive fills it in when it writes a bundle, and requires it when it reads one.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    Field,
    PositiveInt,
    StringConstraints,
    ValidationInfo,
    model_validator,
)

from models.bundle.ports import DETECTING, PIXELS, TRANSLATED, Input, Latent, Output, Part, Place, Score, Text

MANIFEST_FILE = "bundle.json"

_SEPARATORS = re.compile(r"[\s_-]+")


def canonical(name: str) -> str:
    """A name in the form in which names are compared: `Blond_Hair` becomes `blond-hair`.

    Lower case, with one `-` for any run of `-`, `_` and spaces.
    """
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
    # Backslash and colon would be a separator and a drive on Windows.
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
Precision = Literal["fp32", "fp16"]
"""Arithmetic inside a bundle's graphs."""


class Domain(Part):
    """A kind of picture, such as `blond`: the target of a translation, or a class."""

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
    """The mask column that is 1 for requests of this domain; required where the manifest has mask columns."""

    @property
    def spellings(self) -> tuple[str, ...]:
        """The name and the aliases, canonical, without repetition."""
        return tuple(dict.fromkeys((self.name, *map(canonical, self.aliases))))


class Graph(Part):
    """One ONNX file. Its inputs and outputs are named after their kinds, and all of them are float32."""

    file: SafePath
    """Path relative to the bundle."""
    inputs: tuple[Input, ...] = (PIXELS,)
    """What it takes; a kind at most once."""
    outputs: tuple[Output, ...] = (TRANSLATED,)
    """What it gives; a kind at most once."""

    def takes(self, kind: str) -> Input | None:
        """Its input of that kind, if it has one."""
        return next((port for port in self.inputs if port.kind == kind), None)

    def gives(self, kind: str) -> Output | None:
        """Its output of that kind, if it has one."""
        return next((port for port in self.outputs if port.kind == kind), None)

    @property
    def labels(self) -> bool:
        """Whether it takes labels."""
        return self.takes("labels") is not None

    @model_validator(mode="after")
    def _check_ports(self) -> Self:
        if not self.inputs or not self.outputs:
            raise ValueError("a graph needs at least one input and one output")
        if (self.gives("translated") or self.gives("map")) and not self.takes("pixels"):
            raise ValueError("a graph that gives translated or a map must take pixels")
        _unique("input", (port.kind for port in self.inputs))
        _unique("output", (port.kind for port in self.outputs))
        return self


class Picture(Part):
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
    eyes: tuple[Place, Place] = ((0.385, 0.48), (0.615, 0.48))
    """Where a face's eyes stand in the square, the left one of the picture first; x and y from 0 to 1."""

    def row(self, port: Input | Output, sides: Sequence[int] = ()) -> tuple[int | None, ...]:
        """A port's axes after the batch.

        Free height and width come from `sides`, those of the pixels at hand; they are None without it.
        """
        if port.shape is not None:
            return port.shape
        if port.kind == "score":
            return (1,)
        channels = 1 if port.kind == "map" else 3
        if self.free and port.kind != "pictures":
            return (channels, *(sides or (None, None)))
        return (channels, self.size, self.size)

    @model_validator(mode="after")
    def _check_numbers(self) -> Self:
        if self.size % self.multiple:
            raise ValueError(f"size {self.size} is not a multiple of {self.multiple}")
        if self.range[0] >= self.range[1]:
            raise ValueError(f"range {self.range} must rise from black to white")
        if self.eyes[0][0] >= self.eyes[1][0]:
            raise ValueError(f"eyes {self.eyes} must be the left one of the picture, then the right one")
        return self


class Sample(Part):
    """A picture to try the bundle with."""

    file: SafePath
    """Path relative to the bundle, under samples/."""
    title: str = ""
    """What it shows."""

    @model_validator(mode="after")
    def _check_folder(self) -> Self:
        if not self.file.startswith("samples/"):
            raise ValueError(f"sample {self.file!r} must lie under samples/")
        return self


class Manifest(Part):
    """The content of `bundle.json`."""

    schema_version: Literal[2] = 2
    """Version of this format. A file of version 1, or without a version, is converted as it is read."""
    name: BundleName
    """The bundle's name, as in `model=`."""
    version: Version
    """Dotted numbers are compared as numbers."""
    title: str = ""
    """The name for people."""
    family: CanonicalName
    """The GAN system: stargan, cyclegan, pix2pix, ..."""
    task: Literal["translate", "generate", "score", "classify", "detect"] = "translate"
    """What the graphs do. detect: find faces for the other bundles; nobody asks for such a bundle."""
    domains: tuple[Domain, ...] = ()
    """The targets, or the classes; at least one where the task is translate or classify."""
    graphs: dict[GraphName, Graph]
    """Graph name to ONNX file."""
    picture: Picture
    """The tensor's layout."""
    classifier: GraphName | None = None
    """The graph whose logits tell a picture's own labels: softmax within a group, sigmoid elsewhere."""
    latent: Latent | None = None
    """What latents are drawn from; needed where a graph takes them."""
    text: Text | None = None
    """How sentences are written; needed where a graph takes text."""
    score: Score | None = None
    """How scores are read; needed where the task is score."""
    label_order: tuple[CanonicalName, ...] = ()
    """Domain names by column."""
    mask_columns: tuple[CanonicalName, ...] = ()
    """Joint training's mask vector, one column a data set, appended after the labels."""
    precision: Precision = "fp32"
    """Arithmetic inside the graphs; inputs and outputs are float32 always."""
    region: Literal["whole", "face"] = "whole"
    """What is translated when a request leaves it open."""
    licence: str
    """SPDX identifier or a sentence."""
    samples: tuple[Sample, ...] = ()
    """Pictures for the page."""
    files: dict[SafePath, Sha256] = Field(default={})
    """Relative path to SHA-256 of every file but bundle.json."""
    training: dict[str, Any] = Field(default={})
    """Facts of the training: data, steps, options."""
    metrics: dict[str, float] = Field(default={})
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

    @model_validator(mode="before")
    @classmethod
    def _convert(cls, data: object, info: ValidationInfo) -> object:
        # Only a file may lack the version; code that builds a manifest builds today's.
        if isinstance(data, dict) and data.get("schema_version", 1 if info.mode == "json" else 2) == 1:
            return _from_version_1(data)
        return data

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        if self.task in ("translate", "classify") and not self.domains:
            raise ValueError(f"a bundle whose task is {self.task} needs at least one domain")
        _unique("domain name or alias", (spelling for domain in self.domains for spelling in domain.spellings))
        _unique("mask column", self.mask_columns)
        return self

    @model_validator(mode="after")
    def _check_task(self) -> Self:
        """Some graph must do what the task says."""
        graphs = self.graphs.values()
        if self.task == "generate" and not any(graph.gives("pictures") for graph in graphs):
            raise ValueError("a bundle that generates needs a graph that gives pictures")
        if self.task == "score" and not any(graph.takes("pixels") and graph.gives("score") for graph in graphs):
            raise ValueError("a bundle that scores needs a graph that takes pixels and gives a score")
        if self.task == "score" and self.score is None:
            raise ValueError("a bundle that scores needs `score`: the threshold and its quantile")
        ports = {name: (graph.inputs, graph.outputs) for name, graph in self.graphs.items()}
        if self.task == "detect" and ports != DETECTING:
            raise ValueError("a bundle that detects has the graphs detector and mesh, of BlazeFace 256 and FaceMesh")
        return self

    @model_validator(mode="after")
    def _check_classifier(self) -> Self:
        if self.classifier is None:
            if self.task == "classify":
                raise ValueError("a bundle that classifies needs a classifier")
            return self
        graph = self.graphs.get(self.classifier)
        if graph is None:
            raise ValueError(f"classifier names graph {self.classifier!r}, which does not exist")
        if [port.kind for port in graph.inputs] != ["pixels"] or not self.label_order:
            raise ValueError(f"classifier {self.classifier!r} must read pixels alone, and needs a label_order")
        logits = graph.gives("logits")
        if logits is None or logits.shape != (len(self.label_order),):
            raise ValueError(
                f"classifier {self.classifier!r} must give logits of shape [{len(self.label_order)}], "
                "one for each name of label_order"
            )
        return self

    @model_validator(mode="after")
    def _check_graphs(self) -> Self:
        for domain in self.domains:
            graph = self.graphs.get(domain.graph)
            if graph is None:
                raise ValueError(f"domain {domain.name!r} names graph {domain.graph!r}, which does not exist")
            if self.task == "classify" and domain.graph == self.classifier:
                continue  # its column is a logit, not an input
            if self.task == "translate" and not (graph.takes("pixels") and graph.gives("translated")):
                raise ValueError(
                    f"domain {domain.name!r} names graph {domain.graph!r}, which must take pixels and give translated"
                )
            if graph.labels != (domain.column is not None):
                raise ValueError(
                    f"domain {domain.name!r} needs a column exactly if graph {domain.graph!r} takes labels "
                    f"(column: {domain.column}, labels: {graph.labels})"
                )
        shapes = {
            "labels": (len(self.label_order) + len(self.mask_columns),),
            "latent": self.latent and self.latent.shape,
            "text": self.text and (self.text.longest,),
        }
        for name, graph in self.graphs.items():
            for port in graph.inputs:
                if port.kind in shapes and port.shape != shapes[port.kind]:
                    where = {"labels": "label_order and mask_columns"}.get(port.kind, port.kind)
                    raise ValueError(
                        f"graph {name!r} takes {port.kind} of shape {port.shape}, "
                        f"but {where} makes it {shapes[port.kind]}"
                    )
        return self

    @model_validator(mode="after")
    def _check_columns(self) -> Self:
        columns = {domain.name: domain.column for domain in self.domains if domain.column is not None}
        if columns != {name: column for column, name in enumerate(self.label_order)}:
            raise ValueError(
                f"label_order {list(self.label_order)} must name the domain of each column from 0; found {columns}"
            )
        if len(columns) != len(self.label_order):
            raise ValueError(f"label_order {list(self.label_order)} names a domain twice")
        for domain in self.domains:
            masked = domain.column is not None and bool(self.mask_columns)
            if masked != (domain.mask is not None) or (masked and domain.mask not in self.mask_columns):
                raise ValueError(f"domain {domain.name!r} has mask {domain.mask!r} of {list(self.mask_columns)}")
        for name, members in self.groups.items():
            if len(members) < 2:
                raise ValueError(f"group {name!r} has {len(members)} member; it needs at least 2")
            if len({(member.column is None, member.mask) for member in members}) > 1:
                raise ValueError(f"the members of group {name!r} must all have columns or none, and share their mask")
        return self

    @model_validator(mode="after")
    def _check_files(self) -> Self:
        lower = [path.lower() for path in self.files]
        _unique("file, compared without case,", lower)
        folders = {str(parent) for path in lower for parent in PurePosixPath(path).parents}
        if clash := folders & set(lower):
            raise ValueError(f"{min(clash)!r} is listed as a file and used as a folder")
        return self


def _unique(what: str, values: Iterable[str]) -> None:
    seen: set[str] = set()
    for value in values:
        if value in seen:
            raise ValueError(f"{what} {value!r} is given twice")
        seen.add(value)


def _from_version_1(data: Mapping[str, object]) -> dict[str, object]:
    """The same manifest in version 2.

    In version 1 a graph took pixels, and labels if it said so; it gave `translated`, or `logits` if it was the
    classifier. A classifier had the picture's size even where other graphs were free. Malformed parts stay as they are:
    the checks that follow name them.
    """
    graphs, picture = data.get("graphs"), data.get("picture")
    columns, masks = data.get("label_order", ()), data.get("mask_columns", ())
    if not isinstance(graphs, Mapping) or not isinstance(columns, Sequence) or not isinstance(masks, Sequence):
        return {**data, "schema_version": 2}
    size = picture.get("size") if isinstance(picture, Mapping) else None
    converted: dict[str, object] = {}
    for name, graph in graphs.items():
        if not isinstance(graph, Mapping) or not {"file", "labels"}.issuperset(graph):
            converted[name] = graph
            continue
        reads = data.get("classifier") == name
        inputs: list[object] = [{"kind": "pixels", "shape": (3, size, size) if reads else None}]
        if graph.get("labels"):
            inputs.append({"kind": "labels", "shape": (len(columns) + len(masks),)})
        gives = {"kind": "logits", "shape": (len(columns),)} if reads else {"kind": "translated"}
        converted[name] = {"file": graph.get("file"), "inputs": inputs, "outputs": [gives]}
    return {**data, "schema_version": 2, "graphs": converted}
