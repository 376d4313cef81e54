//! The rules of keys and pins, and what the cache may answer by itself.
