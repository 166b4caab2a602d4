"""Data sets that the project draws by itself: avatars, expressions, emoji and line drawings."""
