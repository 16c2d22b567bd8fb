"""Every model of a fleet as one table: one pure function a target, the engine that runs it, the files it ends in."""
