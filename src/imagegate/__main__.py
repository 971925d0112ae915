"""`python -m imagegate` is the command `imagegate`."""

from imagegate.cli import main

if __name__ == "__main__":
    main()
