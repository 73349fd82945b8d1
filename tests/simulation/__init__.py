"""A simulator: the real server, several processes of it on one virtual clock, and one seed for everything that happens.

Run it with ``make simulate``; docs/faults.md says what it breaks and what it promises to notice.
"""
