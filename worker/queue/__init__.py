"""The queue between service and workers: Celery messages, Redis keys, and what travels through them."""
