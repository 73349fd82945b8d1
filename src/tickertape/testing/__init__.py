"""For tests, yours too: an upstream of which every byte is known, healthy or faulty on demand."""
