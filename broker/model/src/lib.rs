//! Ids, offsets, time, record batches and compression; no I/O.
