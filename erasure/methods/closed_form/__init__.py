"""Methods that solve: one linear system a layer, exact under a mask."""
