"""From streams to subscribers: every committed entry, to everybody who reads, at once. Knows no HTTP."""
