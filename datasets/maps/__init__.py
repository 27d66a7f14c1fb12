"""Maps on disk: written by windows, styled, counted, sampled."""
