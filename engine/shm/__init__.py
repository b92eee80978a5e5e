"""Everything two processes may both see: layout, segment, ring, frame, board, wait."""
