"""Object stores: data is copied from them before a run, runs are copied into them while they go on. Control side."""
