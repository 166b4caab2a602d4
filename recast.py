"""The command `recast`; its code is in cli/."""

from cli.app import main

__all__ = ["main"]

if __name__ == "__main__":
    main()
