"""Independent float64 references of the solvers and schedules; see README.md."""
