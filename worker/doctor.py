"""What works here and what does not, for `recast doctor`; nothing is changed by looking."""

import importlib.metadata
import platform
from dataclasses import dataclass

import onnxruntime

from models.bundle.archive import Bundle
from models.bundle.store import Store
from worker.engine.engine import Engine
from worker.errors import EngineError
from worker.imaging import faces
from worker.imaging.formats import FORMATS
from worker.settings import EngineSettings

_TRAINING = ("torch", "lightning-fabric", "onnx", "onnxscript")


@dataclass(frozen=True)
class Finding:
    """One thing looked at; `needed` says whether serving fails without it."""

    subject: str
    works: bool
    needed: bool
    detail: str


def examine(store: Store) -> list[Finding]:
    """Looks at the interpreter, the runtime, the formats, faces, training, and every bundle of the store."""
    snapshot = store.snapshot()
    settings = EngineSettings()
    device = f"{settings.device}; {onnxruntime.__version__} offers {', '.join(onnxruntime.get_available_providers())}"
    return [
        Finding("Python", True, True, platform.python_version()),
        Finding("ONNX Runtime", True, True, device),
        Finding("formats", True, True, ", ".join(f.name + ("" if f.writes else " (read only)") for f in FORMATS)),
        _faces(),
        _training(),
        Finding("store", bool(snapshot.bundles), True, f"{len(snapshot.bundles)} bundles can be read"),
        *(Finding(f"bundle {refused.folder}", False, True, refused.reason) for refused in snapshot.refused),
        *(_bundle(bundle, settings) for bundle in snapshot.bundles),
    ]


def try_bundle(bundle: Bundle, settings: EngineSettings | None = None) -> str | None:
    """Loads and runs every graph of a bundle once; why it can't be served, or None."""
    try:
        engine = Engine(bundle, settings or EngineSettings())
        try:
            engine.warm()
        finally:
            engine.close()
    except EngineError as error:
        return str(error)
    return None


def _bundle(bundle: Bundle, settings: EngineSettings) -> Finding:
    reason = try_bundle(bundle, settings)
    return Finding(f"bundle {bundle.ref}", reason is None, True, reason or "every graph runs")


def _faces() -> Finding:
    version = faces.version()
    missing = "region=face is refused: OpenCV 4 is not installed; `make install` brings it"
    return Finding("faces", version is not None, False, f"OpenCV {version}" if version else missing)


def _training() -> Finding:
    found: list[str] = []
    for name in _TRAINING:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            return Finding("training", False, False, f"{name} is not installed; `make install` brings it")
    return Finding("training", True, False, ", ".join(found))
