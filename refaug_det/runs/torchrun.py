"""torchrun, ending with the exit code and the words of the process that failed.

    python -m refaug_det.runs.torchrun OPTIONS_OF_TORCHRUN SCRIPT ARGUMENTS

torchrun itself ends with 1 whatever the code of its processes was, and says so
at length. A user error comes out here as from a single process: once, in three
lines, with exit code 2.
"""

from __future__ import annotations

import logging
import sys

from refaug_det.errors import EXIT_USER_ERROR


def main(argv: list[str] | None = None) -> int:
    """Run the processes; returns 0, or the exit code of the first that failed."""
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import main as torchrun

    for name in ('api', 'errors.error_handler'):  # what they log is also in the error
        logging.getLogger(f'torch.distributed.elastic.multiprocessing.{name}').setLevel(
            logging.CRITICAL)
    try:
        torchrun(argv)
    except SignalException as error:  # the processes have ended, each in its way
        return 128 + error.sigval
    except ChildFailedError as error:
        for failure in error.failures.values():
            if failure.exitcode == EXIT_USER_ERROR:  # the others fell with it
                print(failure.message, file=sys.stderr)
                return EXIT_USER_ERROR
        print(error, file=sys.stderr)
        code = error.get_first_failure()[1].exitcode
        return code if code > 0 else 128 - code  # a signal, as shells count it
    return 0


if __name__ == '__main__':
    sys.exit(main())
