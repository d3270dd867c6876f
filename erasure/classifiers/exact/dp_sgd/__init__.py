"""DP-SGD: training whose guarantee covers deletions."""
