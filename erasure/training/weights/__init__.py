"""What a training moves: vectors beside a network, and the base that they are held against."""
