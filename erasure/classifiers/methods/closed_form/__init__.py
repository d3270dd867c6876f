"""Methods that change the weights at once; one file each."""
