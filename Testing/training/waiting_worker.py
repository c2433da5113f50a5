"""A run with one process that prepares data for ever; prints the process's number."""

import multiprocessing
import sys
import time

from dropiris.train.batches import follow_the_run


def work(ready):
    follow_the_run(0)
    ready.set()
    time.sleep(600)


if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    ready = context.Event()
    worker = context.Process(target=work, args=(ready,))
    worker.start()
    ready.wait()
    print(worker.pid, flush=True)
    worker.join()
