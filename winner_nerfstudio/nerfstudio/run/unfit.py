"""The end of a program whose checkpoint belongs to another run."""


class UnfitCheckpoint(SystemExit):
    """Ends the program with one line: a checkpoint does not fit.

    A pipeline raises it, which does not know the checkpoint's file; the trainer does, and names it.

    Args:
        problem: what is wrong and what would be right, which follows "the checkpoint".
        file: the file, where it is known.

    Attributes:
        problem: as above.
    """

    def __init__(self, problem: str, file: str = "") -> None:
        super().__init__(f"error: {f'{file}: ' if file else ''}the checkpoint {problem}")
        self.problem = problem
