"""The data folder as a whole: stream log and conversations together, copied and checked while a server uses them."""
