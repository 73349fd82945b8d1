"""One file per upstream dialect, all translated into the vocabulary of `tickertape.deltas`."""
