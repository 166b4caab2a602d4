"""Who asks for a translation: HTTP and the page; it is handed a translator and never builds or loads a model itself."""
