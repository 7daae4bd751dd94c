# Slicer includes much here; the stub needs nothing.
