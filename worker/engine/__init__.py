"""From pixels and labels to pixels, on one device: sessions, engines, the batcher, the library of engines.

It knows no Celery, no Redis and no HTTP; the batcher does not even know onnxruntime.
"""
