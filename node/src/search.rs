//! Searching one index (written next door).
