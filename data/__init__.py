"""From raw logs to prepared datasets, and from those to training batches."""

from data.cluster.machine import refuse_windows

refuse_windows()  # before anything imports what Windows does not have
