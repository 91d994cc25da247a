"""Object stores: data is copied from them before a run, runs are copied to them while they run. Control side."""
