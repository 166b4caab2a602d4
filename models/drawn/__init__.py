"""Data sets that the project draws itself: avatars, expressions, emoji and line drawings."""
