"""Tries what needs ONNX Runtime, for `recast doctor` and `recast models verify`."""

import onnxruntime

from models.bundle.archive import Bundle
from worker.engine.engine import Engine
from worker.errors import EngineError
from worker.settings import EngineSettings


def offers(settings: EngineSettings) -> str:
    """The device that is set, which ONNX Runtime this is, and its execution providers."""
    return f"{settings.device}; {onnxruntime.__version__} offers {', '.join(onnxruntime.get_available_providers())}"


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
