"""From pixels and labels to pixels, on one device: sessions, engines, the batcher, the library of engines.

Knows neither Celery nor Redis, and nothing of HTTP; the batcher knows not even onnxruntime.
"""
