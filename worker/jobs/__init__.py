"""Jobs: many pictures translated together; what is stored of them, and how they are accepted, done and downloaded."""
