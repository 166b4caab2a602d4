"""What the service must not load, so that it runs without ONNX Runtime, PyTorch or Celery."""

import subprocess
import sys


def test_service_loads_neither_engine_nor_frameworks() -> None:
    """In a fresh process, importing the application leaves out torch, onnxruntime, onnx and the worker's engine."""
    script = "import sys, service.app; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = done.stdout.split()
    assert "worker.pipeline" in loaded
    assert {"torch", "onnxruntime", "onnx", "worker.engine", "celery", "redis"}.isdisjoint(loaded)


def test_a_service_with_workers_needs_no_engine() -> None:
    """In a fresh process, the parts of `recast serve --broker` run without onnxruntime."""
    script = "import sys, wiring.service, wiring.workers; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = done.stdout.split()
    assert "worker.queue.remote" in loaded
    assert {"torch", "onnxruntime", "onnx", "worker.engine.session"}.isdisjoint(loaded)


def test_a_service_alone_needs_no_queue() -> None:
    """In a fresh process, what `make serve` installs is enough for all that `recast serve` is made of."""
    script = "import sys, cli.app, wiring.service, wiring.engine, wiring.translate; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = done.stdout.split()
    assert "worker.engine.session" in loaded
    assert {"celery", "kombu", "redis", "msgpack", "torch"}.isdisjoint(loaded)
