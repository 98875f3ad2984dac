//! What a stream means: routing, quotas, groups; no wire format.
