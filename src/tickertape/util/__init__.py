"""Small tools without knowledge of streams or answers."""
