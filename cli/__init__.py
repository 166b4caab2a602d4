"""The command line: it alone prints, and it imports what a command needs only when the command runs."""
