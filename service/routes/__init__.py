"""The routes, one noun a file; `service.app` includes them and decides which need a key."""
