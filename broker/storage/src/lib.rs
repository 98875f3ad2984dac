//! What a log is: commit, read, trim.
