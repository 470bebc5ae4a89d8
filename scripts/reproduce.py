"""Run an experiment of configs/: see winner_nerfstudio/experiments/command.py."""

from winner_nerfstudio.experiments.command import main

if __name__ == "__main__":
    main()
