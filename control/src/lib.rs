//! The slow plane: durable store, tasks, settings, index lifecycle, node bootstrap.
